// Buttons and boxes that cannot be used at present. They can still be reached, and say why: to the keyboard beside them (style of
// `data-unusable`), to the mouse, and to screen readers. `disabled` would take them out of the order of Tab.

const UNUSABLE = '[aria-disabled="true"]';

/** words: why not; "": it can be used. */
export function setUsable(control, words) {
  if ((control.dataset.unusable ?? "") === words) return;
  if (words) {
    control.dataset.unusable = control.title = words;
    control.setAttribute("aria-disabled", "true");
    control.setAttribute("aria-describedby", explanation(words).id);
  } else {
    delete control.dataset.unusable;
    for (const name of ["title", "aria-disabled", "aria-describedby"]) control.removeAttribute(name);
  }
}

/** From now on nothing that cannot be used is; Enter in a form clicks its button, too. */
export function guardUnusable() {
  document.addEventListener(
    "click",
    (event) => {
      if (!event.target.closest(UNUSABLE)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
    },
    true,
  );
}

/** The element that says it; one for each reason. */
function explanation(words) {
  const all = document.getElementById("reasons") ?? document.body.appendChild(made("div", { id: "reasons", hidden: true }));
  const known = [...all.children].find(({ textContent }) => textContent === words);
  return known ?? all.appendChild(made("p", { id: `reason_${all.children.length}`, textContent: words }));
}

function made(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
