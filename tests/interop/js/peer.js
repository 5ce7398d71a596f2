// One device of npm @waku/noise, driven by lines of JSON: {"op": …} in, {…} or {"error": …} out, one for one.
// All byte strings are hexadecimal. What travels is a whole WakuMessage, through the package's own codecs.

import readline from "node:readline";

console.log = console.debug = () => {}; // the package prints to standard output, where our answers go

const noise = await import("@waku/noise");

const PUBSUB = "/waku/2/default-waku/proto";
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const raw = (text) => new Uint8Array(Buffer.from(text, "hex"));

let topic = "/peer/1/x/proto";
let staticKey;
let handshake;
let result; // of a finished handshake: its session
let pairing;

class Queue {
  items = [];
  waiting = [];
  put(item) {
    const taker = this.waiting.shift();
    if (taker) taker(item);
    else this.items.push(item);
  }
  take() {
    return this.items.length
      ? Promise.resolve(this.items.shift())
      : new Promise((resolve) => this.waiting.push(resolve));
  }
}

const wire = async (encoder, message) => hex(await encoder.toWire(message));
const read = async (decoder, bytes) =>
  decoder.fromProtoObj(PUBSUB, await decoder.fromWireToProtoObj(raw(bytes)));

const sent = new Queue(); // what the pairing publishes
const arrived = new Queue(); // what it is to hear
const network = {
  sender: { send: async (encoder, message) => sent.put(await wire(encoder, message)) },
  responder: {
    toSubscriptionIterator: async (decoder) => ({
      iterator: {
        next: async () => ({ value: await read(decoder, await arrived.take()), done: false }),
      },
      stop: async () => {},
    }),
  },
};

const pair = (parameters) => {
  pairing = { it: new noise.WakuPairing(network.sender, network.responder, staticKey, parameters) };
  topic = pairing.it.contentTopic;
  pairing.done = pairing.it.execute(20000);
  pairing.done.catch(() => {}); // told by pair-result
};

const ops = {
  key() {
    staticKey = new noise.X25519DHKey().generateKeyPair();
    return { public: hex(staticKey.publicKey) };
  },

  begin({ pattern, initiator, prologue, psk, known }) {
    handshake = new noise.Handshake({
      hsPattern: noise.NoiseHandshakePatterns[`Noise_${pattern}_25519_ChaChaPoly_SHA256`],
      staticKey,
      ephemeralKey: new noise.X25519DHKey().generateKeyPair(),
      prologue: raw(prologue),
      psk: raw(psk),
      preMessagePKs: known.map((key) => noise.NoisePublicKey.fromPublicKey(raw(key))),
      initiator,
    });
    return {};
  },

  // A pairing's responder shows its ephemeral key, so the prologue depends on it.
  begin_showing({ prologue }) {
    const ephemeralKey = new noise.X25519DHKey().generateKeyPair();
    handshake = new noise.Handshake({
      hsPattern: noise.NoiseHandshakePatterns.Noise_WakuPairing_25519_ChaChaPoly_SHA256,
      staticKey,
      ephemeralKey,
      prologue: raw(prologue),
      preMessagePKs: [noise.NoisePublicKey.fromPublicKey(ephemeralKey.publicKey)],
      initiator: false,
    });
    return { ephemeral: hex(ephemeralKey.publicKey) };
  },

  async write({ payload, nametag }) {
    const step = handshake.stepHandshake({ transportMessage: raw(payload), messageNametag: raw(nametag) });
    return { message: await wire(new noise.NoiseHandshakeEncoder(topic, step), { payload: new Uint8Array() }) };
  },

  async read({ message, nametag }) {
    const received = await read(new noise.NoiseHandshakeDecoder(topic), message);
    const step = handshake.stepHandshake({ readPayloadV2: received.payloadV2, messageNametag: raw(nametag) });
    return { payload: hex(step.transportMessage) };
  },

  nametag: () => ({ nametag: hex(handshake.hs.toMessageNametag()) }),
  code: () => ({ code: handshake.genAuthcode() }),

  finish() {
    result = handshake.finalizeHandshake();
    return { h: hex(result.h), remote: hex(result.rs) };
  },

  async seal({ text }) {
    return { message: await wire(new noise.NoiseSecureTransferEncoder(topic, result), { payload: raw(text) }) };
  },

  async open({ message }) {
    const opened = await read(new noise.NoiseSecureTransferDecoder(topic, result), message);
    return opened ? { text: hex(opened.payload) } : { text: null };
  },

  pair_show({ application, version, shard }) {
    pair(new noise.ResponderParameters(application, version, shard));
    const shown = pairing.it.getPairingInfo();
    return { qr: shown.qrCode, nametag: hex(shown.qrMessageNameTag), topic };
  },

  pair_scan({ qr, nametag }) {
    pair(new noise.InitiatorParameters(qr, raw(nametag)));
    return { topic };
  },

  pair_sent: async () => ({ message: await sent.take() }),
  pair_code: async () => ({ code: await pairing.it.getAuthCode() }),

  pair_deliver({ message }) {
    arrived.put(message);
    return {};
  },

  pair_confirm({ valid }) {
    pairing.it.validateAuthCode(valid);
    return {};
  },

  async pair_result() {
    await pairing.done;
    result = pairing.it.getHandshakeResult();
    return { h: hex(result.h), remote: hex(result.rs) };
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { op, ...given } = JSON.parse(line);
  let answer;
  try {
    answer = await ops[op](given);
  } catch (error) {
    answer = { error: String(error?.message ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
process.exit(0);
