// What the recorder's library does not tell of a page: which popovers are open, pictures that only this page holds (`blob:`),
// and the page's address when a script changes it. What it tells by itself passes the gate as all else does. A picture is
// added where the gate has left an empty address, as it does only where all is shown.

const OPEN = "site-connect-open"; // an attribute of the replay's elements
const CHANGE = 3;
const META = 4;
const MUTATION = 0;
const ELEMENT = 2;
const FIELDS = new Set(["input", "textarea", "select"]);
const LARGEST = 600; // pixels of a picture's longer side; larger ones are told smaller
const QUALITY = 0.8;

export class Supplement {
  /** mirror: {getNode(id), getId(node)} of the library · emit(event): as the library does
   *  showsTypingIn(element): whether what is typed into it is told */
  constructor(mirror, emit, showsTypingIn) {
    Object.assign(this, { mirror, emit, showsTypingIn });
    /** Whether there was a field or an editor since the last snapshot of which what is typed is told. */
    this.showsTyping = false;
    /** The page's address when it was looked at last. */
    this.href = location.href;
    this.toggled = this.toggled.bind(this);
    this.loaded = this.loaded.bind(this);
    /** Documents and shadow roots that are listened to; emptied by `end`. */
    this.roots = new Set();
  }

  /** Add to an event that the gate has let pass, and return it. */
  complete(event) {
    const { type, data } = event;
    if (type === 2) {
      this.showsTyping = false;
      this.tree(data.node);
    } else if (type === CHANGE && data.source === MUTATION) {
      for (const { node } of data.adds) this.tree(node);
      for (const { id, attributes } of data.attributes) this.picture(id, attributes);
    }
    return event;
  }

  /** The address of the page, if a script has changed it since the last look; else null. */
  moved() {
    if (location.href === this.href) return null;
    this.href = location.href;
    return { type: META, data: { href: this.href, width: innerWidth, height: innerHeight }, timestamp: Date.now() };
  }

  end() {
    for (const root of this.roots) {
      root.removeEventListener("toggle", this.toggled, true);
      root.removeEventListener("load", this.loaded, true);
    }
    this.roots.clear();
  }

  tree(recorded) {
    const node = this.mirror.getNode(recorded.id);
    if (recorded.type === ELEMENT && node) this.element(recorded, node);
    for (const child of recorded.childNodes ?? []) this.tree(child);
  }

  element({ tagName, id, attributes }, node) {
    if (FIELDS.has(tagName) || "contenteditable" in attributes) this.showsTyping ||= this.showsTypingIn(node);
    const isPicture = tagName === "img" && attributes.src === "";
    if (!isPicture && !("popover" in attributes)) return;
    this.listen(node.getRootNode());
    if (isPicture) this.picture(id, attributes);
    else if (isOpen(node)) attributes[OPEN] = "";
  }

  /** Events of what opens and of what is loaded do not leave a shadow root. */
  listen(root) {
    if (this.roots.has(root)) return;
    this.roots.add(root);
    root.addEventListener("toggle", this.toggled, true);
    root.addEventListener("load", this.loaded, true);
  }

  toggled({ target }) {
    if (target?.popover) this.change(target, { [OPEN]: isOpen(target) ? "" : null });
  }

  loaded({ target }) {
    if (target.localName === "img" && isHeldHere(target)) this.change(target, { src: target.getAttribute("src") });
  }

  change(node, attributes) {
    const id = this.mirror.getId(node);
    if (id <= 0) return;
    const data = { source: MUTATION, texts: [], attributes: [{ id, attributes }], removes: [], adds: [] };
    this.emit({ type: CHANGE, data, timestamp: Date.now() });
  }

  picture(id, attributes) {
    if (attributes.src !== "") return;
    const node = this.mirror.getNode(id);
    if (node && isHeldHere(node)) attributes.src = drawn(node) ?? "";
  }
}

function isOpen(element) {
  try {
    return element.matches(":popover-open");
  } catch {
    return false; // a browser without popovers
  }
}

function isHeldHere(image) {
  return (image.getAttribute("src") ?? "").startsWith("blob:");
}

/** The picture as it is on the screen, as a data URL; null if it is not there yet, or may not be read. */
function drawn(image) {
  const { naturalWidth, naturalHeight } = image;
  if (!image.complete || !naturalWidth) return null;
  const scale = Math.min(1, LARGEST / Math.max(naturalWidth, naturalHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(naturalWidth * scale));
  canvas.height = Math.max(1, Math.round(naturalHeight * scale));
  try {
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL("image/webp", QUALITY);
  } catch {
    return null;
  }
}
