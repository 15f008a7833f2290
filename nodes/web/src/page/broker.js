// Who on this page wants a topic: subscriptions by id and by topic. Pure.
// A page holds dozens of filters, not thousands: they are kept in order and tried one by one, with what a topic came to
// remembered until a subscription changes. (fabric/trie.py, for many filters, is held to the same cases.)

import { matches, problem, validateFilter } from "./topics.js";

const MAX_ROUTES = 1000; // topics remembered; when full, all are forgotten

export class Broker {
  constructor(firstId = 1) {
    this.nextId = firstId;
    this.subscriptions = new Map();
    this.routes = new Map();
  }

  /** Add a subscription under the next id, or under `id`. Throws InvalidFilter, and nothing has changed then. */
  subscribe(filter, handler, id = this.nextId) {
    validateFilter(filter);
    this.nextId = Math.max(this.nextId, id + 1);
    this.subscriptions.set(id, { id, filter, handler, active: true });
    this.routes.clear();
    return id;
  }

  /** End a subscription, whose handler is called no more, and return its filter. */
  unsubscribe(id) {
    const subscription = this.subscriptions.get(id);
    if (!subscription) throw problem("StateError", `no subscription ${String(id)}: unsubscribed before, or never made`);
    subscription.active = false;
    this.subscriptions.delete(id);
    this.routes.clear();
    return subscription.filter;
  }

  /** The subscriptions that match a valid topic, in the order they were made, each once. */
  match(topic) {
    let found = this.routes.get(topic);
    if (!found) {
      found = [...this.subscriptions.values()].filter((subscription) => matches(subscription.filter, topic));
      if (this.routes.size >= MAX_ROUTES) this.routes.clear();
      this.routes.set(topic, found);
    }
    return found;
  }
}
