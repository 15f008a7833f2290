// The top layer of a replayed page. The recorder marks popovers that are open: here they are opened and shut. Modal dialogs are
// the replay library's, but for their end: without `open`, one still bars the rest of the page.

const MARK = "site-connect-open";
const WATCHED = { subtree: true, childList: true, attributeFilter: [MARK, "open"] };

/** Keep the top layer as it is marked in `root`, an element that was rebuilt; return what ends it. */
export function keepTopLayer(root) {
  const observer = new root.ownerDocument.defaultView.MutationObserver((records) => {
    for (const { type, target, addedNodes } of records) {
      if (type === "attributes" && target.localName === "dialog") shut(target);
      else if (type === "attributes") follow(target);
      else for (const node of addedNodes) if (node.nodeType === 1) meet(node);
    }
  });

  function meet(element) {
    for (const each of [element, ...element.querySelectorAll("*")]) {
      if (each.hasAttribute(MARK)) follow(each);
      if (each.shadowRoot) look(each.shadowRoot);
    }
  }

  function look(below) {
    observer.observe(below, WATCHED);
    for (const each of below.children) meet(each);
  }

  look(root);
  return () => observer.disconnect();
}

function shut(dialog) {
  if (dialog.open || !dialog.matches(":modal")) return;
  dialog.open = true; // what is not open cannot be closed
  dialog.close();
}

/** A popover that closes others would close those that the visitor has open. */
function follow(element) {
  const isOpen = element.matches(":popover-open");
  if (element.hasAttribute(MARK) === isOpen) return;
  try {
    if (isOpen) return element.hidePopover();
    element.popover = "manual";
    element.showPopover();
  } catch {
    // it is no popover at this moment, as while the page moves it; the next snapshot says how it is
  }
}
