// The recorder on the page, and the sign that says that an agent is viewing. Both come when a session starts, and go
// when it stops. A stop ends the recorder before anything else happens.

const REST_MS = 10_000;
const SIGN = {
  position: "fixed",
  top: "0",
  left: "0",
  right: "0",
  margin: "0 auto",
  width: "fit-content", // `left: 50%` would leave it half the window
  display: "flex",
  gap: "12px",
  alignItems: "center",
  flexWrap: "wrap",
  maxWidth: "calc(100vw - 24px)",
  boxSizing: "border-box",
  padding: "8px 8px 8px 16px",
  borderRadius: "0 0 12px 12px",
  background: "#9f1239",
  color: "#fff",
  font: "600 15px/1.3 system-ui, sans-serif",
  boxShadow: "0 4px 18px rgb(15 23 42 / 35%)",
  zIndex: "2147483001",
};
const BUTTON = {
  font: "inherit",
  padding: "6px 14px",
  border: "0",
  borderRadius: "8px",
  background: "#fff",
  color: "#9f1239",
  cursor: "pointer",
};

export class Recording {
  /** src: the recorder's address · host: element for the sign · send(event, snapshot) · stop(): the visitor's wish
   *  failed(why) · report(error): the recorder threw · privacy: what the recorder judges by, see recorder.js */
  constructor(told) {
    Object.assign(this, told);
    /** The epoch that is recorded; null while nothing is. */
    this.epoch = null;
    /** No snapshot is made before this time, in milliseconds of performance.now(). */
    this.restsUntil = 0;
    /** The element that loads the recorder, and the sign; null while nothing is recorded. */
    this.script = this.sign = null;
    /** {stop(), snapshot()}; null until it is loaded, and while nothing is recorded. */
    this.recorder = null;
  }

  start(epoch) {
    this.end();
    this.epoch = epoch;
    this.showSign();
    const script = (this.script = document.createElement("script"));
    script.src = this.src;
    script.onload = () => this.loaded(epoch);
    script.onerror = () => this.failed(`the recorder cannot be loaded from ${this.src}`);
    document.head.append(script);
  }

  loaded(epoch) {
    const record = window.site_connect_recorder;
    delete window.site_connect_recorder;
    if (this.epoch !== epoch || !record) return; // stopped before it was there
    const send = (events, snapshot) => {
      if (this.epoch === epoch) this.send(events, snapshot);
    };
    this.recorder = record(send, this.report, this.privacy);
  }

  /** Make a snapshot of the whole page. Before the recorder is there this does nothing: it begins with one. */
  snapshot() {
    if (performance.now() >= this.restsUntil) this.recorder?.snapshot();
  }

  /** A snapshot cannot be sent at present. The agent asks again and again, and making one takes time: so wait. */
  rest() {
    this.restsUntil = performance.now() + REST_MS;
  }

  end() {
    const { recorder } = this;
    this.epoch = this.recorder = null;
    recorder?.stop();
    this.script?.remove();
    this.sign?.remove();
    this.script = this.sign = null;
  }

  showSign() {
    const sign = (this.sign = document.createElement("div"));
    sign.setAttribute("role", "status");
    sign.id = "sign";
    sign.append("An agent is viewing this page");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Stop";
    button.setAttribute("aria-label", "Stop: the agent sees this page no more");
    button.addEventListener("click", () => this.stop());
    Object.assign(sign.style, SIGN);
    Object.assign(button.style, BUTTON);
    sign.append(button);
    this.host.append(sign);
  }
}
