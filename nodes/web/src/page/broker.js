// Which subscriptions of this page match a topic. Pure. A page has dozens of filters, not thousands: they are tried one
// by one, in order. (fabric/trie.py, for many filters, is held to the same cases.)

import { matches, problem, validateFilter } from "./topics.js";

export class Broker {
  constructor(firstId = 1) {
    /** Above every id that was given or taken. */
    this.nextId = firstId;
    /** id -> {id, filter, handler, options, active}, in the order they were made; `active` is false once one has ended. */
    this.subscriptions = new Map();
  }

  /** Add a subscription under the next id, or under `id`. Throws InvalidFilter, and nothing has changed then. */
  subscribe(filter, handler, id = this.nextId, options) {
    validateFilter(filter);
    this.nextId = Math.max(this.nextId, id + 1);
    this.subscriptions.set(id, { id, filter, handler, options, active: true });
    return id;
  }

  /** End a subscription and return its filter. Throws StateError when there is no subscription of this id. */
  unsubscribe(id) {
    const subscription = this.subscriptions.get(id);
    if (!subscription) throw problem("StateError", `no subscription ${String(id)}`);
    subscription.active = false;
    this.subscriptions.delete(id);
    return subscription.filter;
  }

  /** The subscriptions that match a valid topic, in the order they were made, each once. */
  match(topic) {
    return [...this.subscriptions.values()].filter(({ filter }) => matches(filter, topic));
  }
}
