// JSON as the language has it, also on pages that have given arrays or strings a `toJSON`, as Prototype.js 1.6 does.

const PROTOTYPES = [Array, String, Number, Boolean, Object].map(({ prototype }) => prototype);

/** Like JSON.stringify(value); a `toJSON` of the built-in prototypes is set aside meanwhile. */
export function stringify(value) {
  const aside = PROTOTYPES.map((each) => [each, Object.getOwnPropertyDescriptor(each, "toJSON")]).filter(([, it]) => it);
  for (const [each, { configurable }] of aside) if (configurable) delete each.toJSON;
  try {
    return JSON.stringify(value);
  } finally {
    for (const [each, property] of aside) if (property.configurable) Object.defineProperty(each, "toJSON", property);
  }
}
