// What the frame remembers from one page of a site to the next: in this tab only, by the browser. Where the browser
// keeps nothing for embedded pages, it is remembered until the next page.

const kept = new Map();

/** Return what was remembered under `name`, or `otherwise`. */
export function recall(name, otherwise = null) {
  try {
    return JSON.parse(sessionStorage.getItem(`site_connect.${name}`)) ?? otherwise;
  } catch {
    return kept.get(name) ?? otherwise;
  }
}

export function remember(name, value) {
  try {
    sessionStorage.setItem(`site_connect.${name}`, JSON.stringify(value));
  } catch {
    kept.set(name, value);
  }
}
