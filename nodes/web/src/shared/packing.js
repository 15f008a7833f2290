// Page updates on their way: a long text goes compressed, a short one as it is. Frame and console share it.
//
// A compressed text is {"$bin": base64 of gzip}, as payloads of the fabric write bytes: they are carried as bytes from
// gateway to gateway. Whether and from which length on it pays is measured by benchmarks/picture.py.

const SHORT = 1_000; // bytes; of less, compression saves hardly a packet
export const MAX_BYTES = 32_000_000; // of a text in UTF-8; beyond it a console would stand still for seconds

/** Return a text as it is sent; null when it is larger than MAX_BYTES. */
export async function packed(text) {
  if (isShort(text)) return text;
  const bytes = new TextEncoder().encode(text);
  if (bytes.length > MAX_BYTES) return null;
  if (typeof CompressionStream === "undefined") return text;
  return { $bin: base64(await collected(new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip")))) };
}

/** Whether `packed` leaves this text as it is. */
export function isShort(text) {
  return text.length < SHORT;
}

/** Return the text. Throws Error for what is none, or larger than MAX_BYTES. */
export async function unpacked(event) {
  if (typeof event === "string") return event;
  if (typeof event?.$bin !== "string") throw new Error("expected a text, or a compressed one");
  const bytes = Uint8Array.from(atob(event.$bin), (each) => each.charCodeAt(0));
  return new TextDecoder().decode(await collected(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))));
}

async function collected(stream) {
  const parts = [];
  let size = 0;
  for (const reader = stream.getReader(); ; ) {
    const { value, done } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > MAX_BYTES) {
      await reader.cancel();
      throw new Error(`expected at most ${MAX_BYTES} bytes`);
    }
    parts.push(value);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function base64(bytes) {
  if (bytes.toBase64) return bytes.toBase64();
  const at_once = 8_190; // characters that a call may take as arguments, in whole threes of bytes
  let text = "";
  for (let start = 0; start < bytes.length; start += at_once) {
    text += btoa(String.fromCharCode(...bytes.subarray(start, start + at_once)));
  }
  return text;
}
