// The marks of a page, and the bits by which they are added up on the way from a node to what is around it.

export const MARKS = ["data-site-connect-block", "data-site-connect-mask", "data-site-connect-show"];
const BLOCK_CLASS = "site-connect-block";

export const BLOCK = 1;
export const MASK = 2;
export const SHOW = 4; // the page says so
export const TYPED = 8;
export const ALLOW = 16; // the operator says so
export const PRIVATE = 32; // what has no mark is masked, by the operator
export const PAGE_PRIVATE = 64; // the same, by the page itself

export function hasBlockClass(value) {
  return value !== null && value.split(/\s+/).includes(BLOCK_CLASS);
}
