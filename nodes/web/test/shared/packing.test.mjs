// Page updates on their way: short ones as they are, long ones compressed, and none without an end.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

import { MAX_BYTES, isShort, packed, unpacked } from "../../src/shared/packing.js";

test("a short text stays as it is, and a long one comes back as it was", async () => {
  for (const text of ["", "[]", "x".repeat(999)]) {
    assert.equal(isShort(text), true);
    assert.equal(await packed(text), text);
    assert.equal(await unpacked(text), text);
  }
  for (const text of ["x".repeat(1_000), "漢字仮名交文 \u{1f600}".repeat(50_000)]) {
    const event = await packed(text);
    assert.deepEqual(Object.keys(event), ["$bin"]);
    assert.ok(event.$bin.length < text.length / 4);
    assert.equal(await unpacked(event), text);
  }
});

test("base64 is the same where the browser has none of its own", async () => {
  const text = Array.from({ length: 30_000 }, (_, index) => String.fromCharCode(33 + ((index * 7919) % 90))).join("");
  const { toBase64 } = Uint8Array.prototype;
  delete Uint8Array.prototype.toBase64;
  try {
    assert.equal(await unpacked(await packed(text)), text);
  } finally {
    if (toBase64) Object.defineProperty(Uint8Array.prototype, "toBase64", { value: toBase64, configurable: true, writable: true });
  }
});

test("what is too large is not sent, counted in bytes, and what would become too large is not read", async () => {
  assert.equal(await packed("x".repeat(MAX_BYTES + 1)), null);
  assert.equal(await packed("漢".repeat(MAX_BYTES / 3 + 1)), null);
  const bomb = gzipSync(Buffer.alloc(MAX_BYTES + 1)).toString("base64");
  await assert.rejects(unpacked({ $bin: bomb }), /expected at most 32000000 bytes/);
});

test("what is neither a text nor a compressed one is refused", async () => {
  for (const event of [null, undefined, 7, [], {}, { $bin: 7 }]) await assert.rejects(unpacked(event), /expected a text/);
  await assert.rejects(unpacked({ $bin: "%%%" }));
  await assert.rejects(unpacked({ $bin: Buffer.from("no gzip").toString("base64") }));
});
