// Popovers of a replayed page: the recorder marks those that are open, and here they are opened and shut, in the top layer.

const MARK = "site-connect-open";
const WATCHED = { subtree: true, childList: true, attributeFilter: [MARK] };

/** Keep the popovers in `root`, an element that was rebuilt, as they are marked; return what ends it. */
export function keepPopovers(root) {
  const observer = new root.ownerDocument.defaultView.MutationObserver((records) => {
    for (const { type, target, addedNodes } of records) {
      if (type === "attributes") follow(target);
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
