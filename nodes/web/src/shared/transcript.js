// The lines of one chat as a browser has them. Pure. The page's gateway numbers them and says when each was said; a line
// that was said here is there at once, and gets its number later.
//
//   {from, text, id, own, n, at, seal, agent, isSystem}   n: 0 until it is known · at: seconds since 1970

const MAX_LINES = 200;

/** The lines after one was said; the same ones if it is known already. */
export function withLine(lines, { from, text, id, n, at, by }, own) {
  if (typeof text !== "string" || (id && lines.some((each) => each.id === id))) return lines;
  const line = { from: String(from ?? ""), text, id, own, n: whole(n), at: seconds(at), agent: own ? undefined : by };
  return [...lines, line].slice(-MAX_LINES);
}

/** A line that nobody has said: what happened. */
export function withSystem(lines, text, at) {
  return [...lines, { from: "", text, own: false, n: 0, at: seconds(at), isSystem: true }].slice(-MAX_LINES);
}

/** The gateway has numbered a line, and sealed it. */
export function withNumber(lines, { id, n, at, agent, seal }) {
  return lines.map((each) => (id && each.id === id ? { ...each, n, at, agent, seal } : each));
}

/** The lines with those that were kept elsewhere, in the order of their numbers; lines without one stay where they are,
 *  after the one they followed. `isOwn(line)`: whether it was said at this end. */
export function merged(lines, kept, isOwn) {
  const known = new Map(lines.filter(({ id }) => id).map((each) => [each.id, each]));
  const now = lines.map((each) => {
    const theirs = each.id && kept.find(({ id }) => id === each.id);
    return theirs ? { ...each, n: theirs.n || each.n, at: theirs.at, seal: theirs.seal ?? each.seal, agent: each.agent } : each;
  });
  const fresh = kept.filter(({ id }) => !known.has(id)).map((each) => ({ ...each, own: isOwn(each) }));
  for (const each of fresh) {
    const after = now.findLastIndex(({ n }) => n && (!each.n || n < each.n));
    now.splice(each.n ? after + 1 : now.length, 0, each);
  }
  return now.slice(-MAX_LINES);
}

function whole(n) {
  return Number.isSafeInteger(n) && n > 0 ? n : 0;
}

function seconds(at) {
  return typeof at === "number" && Number.isFinite(at) ? at : 0;
}
