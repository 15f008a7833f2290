// The element that loaded this script, and further scripts from the same place, as the page's own policies want them.

const POLICY = "site-connect"; // named in the documentation: a page may list it under `trusted-types`

/** The script's own element: {origin, dataset, nonce}. Null where none can be found, as in a dynamic `import()`. */
export function ownScript() {
  const all = [...document.querySelectorAll("script[src]")];
  const element = document.currentScript ?? all.find(({ src }) => new URL(src).pathname.endsWith("/site_connect.js"));
  return element && { origin: new URL(element.src).origin, dataset: element.dataset, nonce: element.nonce };
}

/** Return what makes an element that loads `src`. It throws where a page with Trusted Types does not list our policy. */
export function scriptMaker(src, nonce) {
  let trusted = null;
  return () => {
    trusted ??= window.trustedTypes?.createPolicy(POLICY, { createScriptURL: (url) => (url === src ? url : null) });
    const element = document.createElement("script");
    if (nonce) element.nonce = nonce;
    element.src = trusted ? trusted.createScriptURL(src) : src;
    return element;
  };
}
