// Which subscriptions of this page match a topic. Pure. A page has dozens of filters, not thousands: they are tried one
// by one, in order, and the result for a topic is remembered until a subscription changes. (fabric/trie.py, for many
// filters, is held to the same cases.)

import { matches, problem, validateFilter } from "./topics.js";

const MAX_ROUTES = 1000; // topics remembered; when full, all are forgotten

export class Broker {
  constructor(firstId = 1) {
    /** Above every id that was given or taken. */
    this.nextId = firstId;
    /** id -> {id, filter, handler, active}, in the order they were made; `active` is false once one has ended. */
    this.subscriptions = new Map();
    /** topic -> the subscriptions that match it; at most MAX_ROUTES, forgotten whenever `subscriptions` changes. */
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

  /** End a subscription and return its filter. Throws StateError when there is no subscription of this id. */
  unsubscribe(id) {
    const subscription = this.subscriptions.get(id);
    if (!subscription) throw problem("StateError", `no subscription ${String(id)}`);
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
