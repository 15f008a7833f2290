// What a visitor is called in the console: a colour and a bird, drawn from the session. So it is the same for the whole
// visit, in every window, without anything being kept. Pure.

const COLOURS = "Amber Black Blue Bronze Brown Coral Cream Golden Green Grey Ivory Olive Purple Red Silver White".split(" ");
const BIRDS = [
  "avocet blackbird bluetit bunting buzzard chaffinch cormorant crane crossbill cuckoo curlew dipper dove dunlin eagle egret",
  "eider falcon fieldfare finch gannet godwit goldfinch goose grebe greenfinch gull harrier hawk heron hobby hoopoe",
  "jackdaw jay kestrel kingfisher kite knot lapwing linnet magpie mallard martin merlin nightjar nuthatch oriole osprey",
  "ouzel owl pipit plover puffin quail rail raven redstart robin rook ruff sandpiper shrike siskin skylark",
].flatMap((line) => line.split(" "));

/** A name for a session that none of `taken` is. */
export function label(session, taken = []) {
  const drawn = hash(session);
  const name = `${COLOURS[drawn % COLOURS.length]} ${BIRDS[Math.floor(drawn / COLOURS.length) % BIRDS.length]}`;
  for (let n = 1; ; n += 1) {
    const found = n === 1 ? name : `${name} ${n}`;
    if (!taken.includes(found)) return found;
  }
}

/** FNV-1a, 32 bits. */
function hash(text) {
  let found = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) found = Math.imul(found ^ text.charCodeAt(at), 0x01000193) >>> 0;
  return found;
}
