// One stream of changes for the whole browser. As a shared worker it serves every tab; where shared workers are missing,
// the page imports it and has a stream of its own. It only passes on what the server says: which topics changed.

const SILENCE = 40_000; // the server pings every 15 s: longer silence is a dead connection
const CLOSE_AFTER = 5_000; // outlives the moment between two pages
const REMEMBER = 30_000;
const streams = new Set();

export class Stream {
  constructor(tell) {
    this.tell = tell;
    this.seen = [];
    this.state = { word: "connecting", since: Date.now() };
    this.delay = 1_000;
    streams.add(this);
  }

  open(address, since) {
    this.address = address;
    this.close();
    this.source = new EventSource(`${address}?since=${this.lastHeard || since}`);
    this.heard();
    this.source.addEventListener("hello", (event) => this.said("live", JSON.parse(event.data)));
    this.source.addEventListener("lost", (event) => this.said("reconnecting", JSON.parse(event.data)));
    this.source.addEventListener("ping", () => this.heard());
    this.source.addEventListener("bye", () => this.open(this.address, Date.now()));
    this.source.addEventListener("change", (event) => this.changed(JSON.parse(event.data)));
    this.source.onerror = () => this.failed();
    this.watch = setInterval(() => this.check(), 5_000);
  }

  close() {
    this.source?.close();
    this.source = null;
    clearInterval(this.watch);
    clearTimeout(this.again);
  }

  get isOpen() {
    return Boolean(this.source || this.again);
  }

  changed({ topics, at }) {
    this.heard();
    this.lastHeard = at;
    this.seen = [...this.seen.filter((one) => one.at > at - REMEMBER), { at, topics }];
    if (this.state.word !== "live") this.say("live");
    this.tell({ topics });
  }

  said(word, { at }) {
    this.heard();
    this.skew = at - Date.now();
    this.say(word);
  }

  missedSince(moment) {
    return this.seen.filter((one) => one.at >= moment).flatMap((one) => one.topics);
  }

  heard() {
    this.last = Date.now();
    this.delay = 1_000;
  }

  check() {
    if (Date.now() - this.last > SILENCE) this.failed();
  }

  // EventSource gives up after some answers and waits without end after others: we decide when to try again.
  failed() {
    this.close();
    if (this.state.word !== "signed out") this.say(navigator.onLine ? "reconnecting" : "offline");
    this.probe();
    this.again = setTimeout(() => {
      this.again = null;
      this.open(this.address, Date.now() - this.delay);
    }, this.delay);
    this.delay = Math.min(this.delay * 2, 15_000);
  }

  // A stream that is refused says nothing of why: whoever was signed out is led to the door and told so.
  async probe() {
    const answer = await fetch(`${this.address}?probe`, { redirect: "manual" }).catch(() => null);
    if (answer?.type === "opaqueredirect") this.say("signed out");
  }

  say(word) {
    if (word === this.state.word) return;
    this.state = { word, since: word === "live" ? Date.now() : this.last };
    this.tell({ state: this.state, skew: this.skew });
  }
}

addEventListener("online", () => streams.forEach((stream) => stream.isOpen && stream.open(stream.address, Date.now())));

function serve() {
  const ports = new Set();
  const stream = new Stream((message) => ports.forEach((port) => port.postMessage(message)));
  let person = null;
  let closing = null;

  function joined(port, hello) {
    clearTimeout(closing);
    ports.add(port);
    if (!stream.isOpen || person !== hello.person) {
      stream.open(hello.address, hello.since);
    } else {
      const topics = stream.missedSince(hello.since);
      if (topics.length) port.postMessage({ topics });
    }
    person = hello.person;
    port.postMessage({ state: stream.state, skew: stream.skew });
  }

  function left(port) {
    ports.delete(port);
    if (!ports.size) closing = setTimeout(() => stream.close(), CLOSE_AFTER);
  }

  self.onconnect = ({ ports: [port] }) => {
    port.onmessage = ({ data }) => (data.bye ? left(port) : joined(port, data));
  };
}

if (typeof SharedWorkerGlobalScope !== "undefined" && self instanceof SharedWorkerGlobalScope) serve();
