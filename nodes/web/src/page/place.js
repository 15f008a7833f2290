// Where something stands that can be moved, so that it stays in the window. Pure; all in pixels.

export const STEP = 24; // of an arrow key
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** {left, top}, moved into the window: {width, height} of it and of what stands there. */
export function inWindow({ left, top }, size, window) {
  const at = (value, length, room) => Math.floor(Math.max(0, Math.min(Math.round(value), room - length)));
  return { left: at(left, size.width, window.width), top: at(top, size.height, window.height) };
}

/** Where an arrow key moves it from {left, top}; null for another key. */
export function byKey({ left, top }, key) {
  if (!Object.hasOwn(WAYS, key)) return null;
  const [x, y] = WAYS[key];
  return { left: left + x * STEP, top: top + y * STEP };
}
