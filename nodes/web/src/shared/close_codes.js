// Written by `python -m nodes.gateway.close_codes` from its table; do not edit. A code that is not here means back_off.
// reconnect: "back_off" or "never" · least_s: the shortest wait before the next try, in seconds
export const CLOSE_CODES = {
  1000: { name: "goodbye", reconnect: "never", least_s: 0 },
  1009: { name: "too_large", reconnect: "back_off", least_s: 0 },
  1011: { name: "failed", reconnect: "back_off", least_s: 0 },
  1012: { name: "restarting", reconnect: "back_off", least_s: 0 },
  1013: { name: "try_later", reconnect: "back_off", least_s: 0 },
  4000: { name: "hello_expected", reconnect: "never", least_s: 0 },
  4001: { name: "ended_elsewhere", reconnect: "never", least_s: 0 },
  4003: { name: "wrong_origin", reconnect: "never", least_s: 0 },
  4008: { name: "over_limit", reconnect: "back_off", least_s: 30 },
  4009: { name: "too_slow", reconnect: "back_off", least_s: 0 },
};
