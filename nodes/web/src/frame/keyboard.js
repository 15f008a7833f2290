// The keyboard in the frame: Escape closes it, or makes it small while something goes on in it; Tab leaves it to where the page
// has it stand (src/page/focus.js).

const CAN_HAVE_IT = "button, input, textarea, select, a[href], [tabindex]";

/** close(): as Escape is to do · leave(back): Tab goes past the last control, or before the first */
export function wireKeyboard({ close, leave }) {
  let isAfterOpener = false; // the page has led the keyboard in here, and takes it back

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing) close();
    if (event.key !== "Tab" || !isAfterOpener || event.altKey || event.ctrlKey || event.metaKey) return;
    const all = controls();
    const edge = event.shiftKey ? all[0] : all.at(-1);
    if (all.length && document.activeElement !== edge) return;
    event.preventDefault();
    leave(event.shiftKey);
  });

  return {
    /** The page leads the keyboard in here. */
    enter(last) {
      isAfterOpener = true;
      controls().at(last ? -1 : 0)?.focus();
    },
    /** The frame is shown in another way: what had the keyboard may be hidden now. */
    kept() {
      if (document.hasFocus() && document.activeElement === document.body) controls()[0]?.focus();
    },
  };
}

function controls() {
  const all = [...document.querySelectorAll(CAN_HAVE_IT)];
  return all.filter((each) => each.tabIndex >= 0 && !each.disabled && each.getClientRects().length);
}
