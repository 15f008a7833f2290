// JSON as the language has it, also on pages that have given arrays or strings a `toJSON`, as Prototype.js 1.6 does.

const PROTOTYPES = [Array, String, Number, Boolean, Object].map(({ prototype }) => prototype);

/** Like JSON.stringify(value); a `toJSON` of the built-in prototypes is set aside meanwhile. */
export function stringify(value) {
  const aside = [];
  for (const each of PROTOTYPES) {
    const property = Object.getOwnPropertyDescriptor(each, "toJSON");
    if (property?.configurable) aside.push([each, { __proto__: null, ...property }]); // inherits nothing that a page has added
  }
  for (const [each] of aside) delete each.toJSON;
  try {
    return JSON.stringify(value);
  } finally {
    for (const [each, property] of aside) Object.defineProperty(each, "toJSON", property);
  }
}
