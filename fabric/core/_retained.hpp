// The retained values of one proxy, compiled. The twin `retained.py` is the specification: names, order and bytes are
// the same. For one thread at a time; nothing here waits. Where there is no memory left it ends the process, as libzmq
// does.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fabric {

using View = std::string_view;
constexpr int64_t NEVER = std::numeric_limits<int64_t>::max();

// See `retained.py`.
constexpr size_t BATCH_BYTES = 64 * 1024;
constexpr size_t MOST_IN_BATCH = 10'000;
constexpr size_t EACH_BYTES = 256;
constexpr uint64_t AHEAD_NS = 60'000'000'000;
constexpr int64_t TOMBSTONE_US = 180'000'000;
constexpr size_t TAIL_BYTES = 12;
constexpr char TAIL[] = "\xa6retain\xce";

enum Verdict : int { MALFORMED, KEPT, REPEATED, OLDER, TOO_MANY, TOO_LARGE, AHEAD, VERDICTS };

struct Stamp {
    uint64_t sent_ns = 0, publisher = 0;
    bool operator<(const Stamp &other) const {
        return sent_ns != other.sent_ns ? sent_ns < other.sent_ns : publisher < other.publisher;
    }
    bool operator==(const Stamp &other) const { return sent_ns == other.sent_ns && publisher == other.publisher; }
    bool is_ahead(uint64_t wall_ns) const { return sent_ns > wall_ns && sent_ns - wall_ns > AHEAD_NS; }
};

inline uint32_t big(const unsigned char *at, int bytes) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8 | at[i];
    return value;
}

inline void put(std::string &to, uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) to.push_back(static_cast<char>(value >> (8 * i)));
}

// Where a body is read; `failed` once it was not what was looked for.
struct Reader {
    const unsigned char *at, *end;
    bool failed = false;

    explicit Reader(View body)
        : at(reinterpret_cast<const unsigned char *>(body.data())), end(at + body.size()) {}

    size_t left() const { return static_cast<size_t>(end - at); }

    bool eat(const char *what, size_t size) {
        if (failed || left() < size || std::memcmp(at, what, size) != 0) return !(failed = true);
        at += size;
        return true;
    }

    uint64_t fixed(int bytes) {
        uint64_t value = 0;
        if (failed || left() < static_cast<size_t>(bytes)) {
            failed = true;
            return 0;
        }
        for (int i = 0; i < bytes; ++i) value = value << 8 | *at++;
        return value;
    }

    View taken(size_t size) {
        if (failed || left() < size) {
            failed = true;
            return {};
        }
        at += size;
        return {reinterpret_cast<const char *>(at - size), size};
    }

    uint64_t number() {
        const uint64_t first = fixed(1);
        if (first <= 0x7f) return first;
        if (first >= 0xcc && first <= 0xcf) return fixed(1 << (first - 0xcc));
        failed = true;
        return 0;
    }

    // Pass over so many msgpack values, whatever they nest; extension types are refused.
    void skip(uint64_t values) {
        while (values && !failed) {
            --values;
            const auto first = static_cast<unsigned char>(fixed(1));
            size_t more = 0;
            if (failed) return;
            if (first <= 0x7f || first >= 0xe0 || first == 0xc0 || first == 0xc2 || first == 0xc3) {
            } else if (first <= 0x8f) {
                values += 2 * (first & 0x0f);
            } else if (first <= 0x9f) {
                values += first & 0x0f;
            } else if (first <= 0xbf) {
                more = first & 0x1f;
            } else {
                switch (first) {
                    case 0xc4: case 0xd9: more = fixed(1); break;
                    case 0xc5: case 0xda: more = fixed(2); break;
                    case 0xc6: case 0xdb: more = fixed(4); break;
                    case 0xcc: case 0xd0: more = 1; break;
                    case 0xcd: case 0xd1: more = 2; break;
                    case 0xca: case 0xce: case 0xd2: more = 4; break;
                    case 0xcb: case 0xcf: case 0xd3: more = 8; break;
                    case 0xdc: values += fixed(2); break;
                    case 0xdd: values += fixed(4); break;
                    case 0xde: values += 2 * fixed(2); break;
                    case 0xdf: values += 2 * fixed(4); break;
                    default: failed = true;
                }
            }
            taken(more);
            if (values > left()) failed = true;  // each needs a byte
        }
    }
};

// What the table has to know of a part.
struct Fields {
    View key;   // the topic and its NUL
    View head;  // publisher, number and sent_ns, as they stand there
    Stamp stamp;
    uint32_t expires_s = 0;
    bool clears = false;

    View topic() const { return key.substr(0, key.size() - 1); }

    bool read(View part) {
        const size_t nul = part.find('\0');
        if (nul == View::npos || nul == 0 || part.size() < nul + 1 + TAIL_BYTES) return false;
        key = part.substr(0, nul + 1);
        Reader body(part.substr(nul + 1));
        body.eat("\x96\x01", 2);
        const unsigned char *from = body.at;
        stamp.publisher = body.number();
        const bool numbered = body.number() > 0;
        stamp.sent_ns = body.number();
        if (body.failed || !numbered || body.left() == 0) return false;
        head = {reinterpret_cast<const char *>(from), static_cast<size_t>(body.at - from)};
        clears = *body.at == 0xc0;
        body.skip(1);
        uint64_t headers = body.fixed(1);
        if (headers == 0xde || headers == 0xdf) {
            headers = body.fixed(headers == 0xde ? 2 : 4);
        } else if ((headers & 0xf0) == 0x80) {
            headers &= 0x0f;
        } else {
            return false;
        }
        if (body.failed || headers == 0) return false;
        body.skip(2 * (headers - 1));
        if (body.failed || body.left() != TAIL_BYTES || !body.eat(TAIL, TAIL_BYTES - 4)) return false;
        expires_s = static_cast<uint32_t>(body.fixed(4));
        return !body.failed;
    }

    std::string tombstone() const {
        std::string part(key);
        part.append("\x96\x01", 2).append(head).append("\xc0\x81", 2).append(TAIL, TAIL_BYTES - 4).append(4, '\0');
        return part;
    }
};

struct Entry {
    std::string part;     // topic, NUL, body
    size_t key_size = 0;  // of the topic and its NUL, with which it begins
    Stamp stamp;
    int64_t taken_us = 0;         // when it was set, cleared, or ran out
    int64_t deadline_us = NEVER;  // when it runs out, or is forgotten
    bool dead = false;            // a tombstone
    bool shared = false;          // another proxy holds the same one

    View key() const { return {part.data(), key_size}; }
    View topic() const { return {part.data(), key_size - 1}; }
    size_t cost() const { return part.size() + EACH_BYTES; }
};

struct ByKey {
    using is_transparent = void;
    bool operator()(const Entry *a, const Entry *b) const { return a->key() < b->key(); }
    bool operator()(const Entry *a, View b) const { return a->key() < b; }
    bool operator()(View a, const Entry *b) const { return a < b->key(); }
};

struct ByDeadline {
    bool operator()(const Entry *a, const Entry *b) const {
        return a->deadline_us != b->deadline_us ? a->deadline_us < b->deadline_us : a->key() < b->key();
    }
};

// One way through the table, given in batches; see `retained.Tour`.
struct Tour {
    std::string topic, nonce;
    std::vector<std::string> prefixes;  // sorted, none within another
    bool everything = false;            // also what begins with `$` or `~`
    std::string cursor;                 // key of the last one given in an earlier batch; empty: nothing was
    size_t at = 0;                      // within a batch: the prefix that is given now
    uint32_t index = 0;                 // of the next batch

    Tour() = default;
    Tour(View topic_, View nonce_, std::vector<std::string> wanted, bool everything_)
        : topic(topic_), nonce(nonce_), everything(everything_) {
        std::sort(wanted.begin(), wanted.end());
        for (auto &each : wanted)
            if (prefixes.empty() || each.compare(0, prefixes.back().size(), prefixes.back()) != 0)
                prefixes.push_back(std::move(each));
    }
};

// A way through the table that is under way; see `switch._Errand`.
struct Errand {
    int place;
    bool answers, claims;  // a marker, behind it; stamps only
    std::string token;     // of the marker
    Tour tour;
};

class Table {
  public:
    uint64_t verdicts[VERDICTS] = {};  // how often each was given
    uint64_t yielded = 0;              // values that another proxy has newer
    uint64_t forgotten = 0;            // tombstones that went before their time
    uint64_t confirmed = 0;            // times that another proxy had all that was handed over
    uint64_t batches = 0;              // given
    size_t values = 0, value_bytes = 0, tombstones = 0, tombstone_bytes = 0;
    std::vector<std::string> notices;  // for publishers, since they were last taken

    Table(size_t max_topics, size_t max_bytes) : max_topics_(max_topics), max_bytes_(max_bytes) {}
    Table(const Table &) = delete;
    Table &operator=(const Table &) = delete;
    ~Table() {
        for (Entry *each : entries_) delete each;
    }

    Verdict take(View part, int64_t now_us, uint64_t wall_ns, uint32_t age_s) {
        const Verdict found = judge(part, now_us, wall_ns, age_s);
        ++verdicts[found];
        return found;
    }

    void sweep(int64_t now_us, size_t most) {
        while (most--) {
            Entry *first = first_due();
            if (first == nullptr || first->deadline_us > now_us) return;
            if (first->dead)
                forget(first);
            else
                expire(first);
        }
    }

    // What another proxy told: claims, or its values. Whether it could be read.
    bool hear(View body, int64_t now_us, uint64_t wall_ns) {
        Reader reader(body);
        reader.eat("\x95\x01\x00\x01\x00", 5);
        if (reader.failed || reader.left() == 0) return false;
        return *reader.at == 0xdd ? hear_claims(reader, wall_ns) : hear_values(reader, now_us, wall_ns);
    }

    // The next batch of a tour, a whole part; whether it is the last one.
    bool next(Tour &tour, int64_t now_us, std::string &part) {
        bodies_.clear();
        ages_.clear();
        size_t count = 0;
        auto it = where(tour);
        const Entry *last = nullptr;
        for (; it != entries_.end(); it = settle(std::next(it), tour)) {
            Entry *each = *it;
            if (!each->dead && each->deadline_us <= now_us) expire(each);
            if (count && (bodies_.size() + ages_.size() + each->part.size() + 10 > BATCH_BYTES || count == MOST_IN_BATCH))
                break;
            bodies_.push_back('\xc6');
            put(bodies_, each->part.size(), 4);
            bodies_ += each->part;
            ages_.push_back('\xce');
            put(ages_, static_cast<uint64_t>(std::max<int64_t>(0, now_us - each->taken_us) / 1'000'000), 4);
            ++count;
            last = each;
        }
        if (last != nullptr) tour.cursor = last->key();
        const bool ended = it == entries_.end();
        part = tour.topic;
        part.append("\x95\x01\x00\x01\x00\x85\xa5nonce\xc4", 13);
        put(part, tour.nonce.size(), 1);
        part.append(tour.nonce).append("\xa5index\xce");
        put(part, tour.index++, 4);
        part.append("\xa4last").push_back(ended ? '\xc3' : '\xc2');
        part.append("\xa5parts\xdc");
        put(part, count, 2);
        part.append(bodies_).append("\xa4" "ages\xdc");
        put(part, count, 2);
        part.append(ages_);
        ++batches;
        return ended;
    }

    // The same with the stamps only, for another proxy.
    bool next_claims(Tour &tour, std::string &part) {
        bodies_.clear();
        size_t count = 0;
        auto it = where(tour);
        for (; it != entries_.end() && bodies_.size() < BATCH_BYTES; it = settle(std::next(it), tour)) {
            add_claim(bodies_, **it);
            tour.cursor = (*it)->key();
            ++count;
        }
        ++tour.index;
        part = tour.topic;
        finish_claims(part, bodies_, count);
        return it == entries_.end();
    }

    // What is to be claimed since it was last taken; false: nothing.
    bool take_claims(View topic, std::string &part) {
        if (claimed_ == 0) return false;
        part = topic;
        finish_claims(part, claims_, claimed_);
        drop_claims();
        return true;
    }

    bool has_claims() const { return claimed_ != 0; }
    bool claims_are_many() const { return claims_.size() >= BATCH_BYTES; }
    void drop_claims() {
        claims_.clear();
        claimed_ = 0;
    }

  private:
    using Entries = std::set<Entry *, ByKey>;

    const size_t max_topics_, max_bytes_;  // of values, and once more of tombstones
    Entries entries_;                      // by key
    std::set<Entry *, ByDeadline> due_[2];  // values that run out; and tombstones
    std::string claims_;                   // stamps to be told to the other proxies
    uint32_t claimed_ = 0;                 // how many these are
    std::string bodies_, ages_;            // of the batch that is being made

    Entry *find(View key) const {
        const auto it = entries_.find(key);
        return it == entries_.end() ? nullptr : *it;
    }

    Verdict judge(View part, int64_t now_us, uint64_t wall_ns, uint32_t age_s) {
        Fields fields;
        if (!fields.read(part)) return MALFORMED;
        if (fields.stamp.is_ahead(wall_ns)) {
            notice(fields.stamp, fields.topic(), "clock");
            return AHEAD;
        }
        sweep(now_us, 4);
        Entry *entry = find(fields.key);
        if (entry != nullptr && entry->stamp == fields.stamp) return REPEATED;
        if (entry != nullptr && fields.stamp < entry->stamp) {
            if (entry->stamp.publisher != fields.stamp.publisher) notice(fields.stamp, fields.topic(), "newer");
            return OLDER;
        }
        if (entry != nullptr && !entry->dead && entry->stamp.publisher != fields.stamp.publisher)
            notice(entry->stamp, fields.topic(), "newer");
        const bool lives = entry != nullptr && !entry->dead;
        Verdict verdict = KEPT;
        if (!fields.clears) {
            if (values - lives >= max_topics_)
                verdict = TOO_MANY;
            else if (value_bytes - (lives ? entry->cost() : 0) + part.size() + EACH_BYTES > max_bytes_)
                verdict = TOO_LARGE;
            if (verdict != KEPT) notice(fields.stamp, fields.topic(), verdict == TOO_MANY ? "topics" : "bytes");
        }
        const bool claims = !lives || entry->shared;
        if (entry == nullptr) {
            auto made = std::make_unique<Entry>();
            made->part = part;
            made->key_size = fields.key.size();
            entries_.insert(made.get());
            entry = made.release();
        } else {
            leave(entry);
        }
        const int64_t taken_us = now_us - static_cast<int64_t>(age_s) * 1'000'000;
        entry->stamp = fields.stamp;
        entry->shared = false;
        if (fields.clears || verdict != KEPT) {
            bury(entry, fields.tombstone(), taken_us);
        } else {
            store(entry->part, part);
            entry->dead = false;
            entry->taken_us = taken_us;
            entry->deadline_us = fields.expires_s ? taken_us + static_cast<int64_t>(fields.expires_s) * 1'000'000 : NEVER;
            enter(entry);
        }
        if (claims) claim(*entry);
        while (tombstones > max_topics_ || tombstone_bytes > max_bytes_) forget_a_tombstone();
        return verdict;
    }

    static void store(std::string &to, View part) {
        if (to.capacity() < part.size() || to.capacity() > 2 * part.size() + 64)
            std::string(part).swap(to);
        else
            to.assign(part);
    }

    // In and out of the sums and of what is due.
    void enter(Entry *entry) {
        (entry->dead ? tombstones : values) += 1;
        (entry->dead ? tombstone_bytes : value_bytes) += entry->cost();
        if (entry->deadline_us != NEVER) due_[entry->dead].insert(entry);
    }

    void leave(Entry *entry) {
        (entry->dead ? tombstones : values) -= 1;
        (entry->dead ? tombstone_bytes : value_bytes) -= entry->cost();
        if (entry->deadline_us != NEVER) due_[entry->dead].erase(entry);
    }

    // For one that has left the sums.
    void bury(Entry *entry, const std::string &tombstone, int64_t since_us) {
        store(entry->part, tombstone);
        entry->dead = true;
        entry->taken_us = since_us;
        entry->deadline_us = since_us + TOMBSTONE_US;
        enter(entry);
    }

    void expire(Entry *entry) {
        Fields fields;
        fields.read(entry->part);
        const std::string tombstone = fields.tombstone();
        leave(entry);
        bury(entry, tombstone, entry->deadline_us);
    }

    void forget(Entry *entry) {
        leave(entry);
        entries_.erase(entry);
        delete entry;
    }

    void forget_a_tombstone() {
        ++forgotten;
        forget(*due_[true].begin());
    }

    Entry *first_due() const {
        Entry *found = nullptr;
        for (const auto &each : due_)
            if (!each.empty() && (found == nullptr || ByDeadline()(*each.begin(), found))) found = *each.begin();
        return found;
    }

    // ── other proxies

    static void add_claim(std::string &to, const Entry &entry) {
        to.append("\x93\xc5", 2);
        put(to, entry.key_size - 1, 2);
        to.append(entry.topic()).push_back('\xcf');
        put(to, entry.stamp.sent_ns, 8);
        to.push_back('\xcf');
        put(to, entry.stamp.publisher, 8);
    }

    static void finish_claims(std::string &part, const std::string &claims, size_t count) {
        part.append("\x95\x01\x00\x01\x00\xdd", 6);
        put(part, count, 4);
        part += claims;
    }

    void claim(const Entry &entry) {
        add_claim(claims_, entry);
        ++claimed_;
    }

    bool hear_claims(Reader &reader, uint64_t wall_ns) {
        reader.fixed(1);
        uint64_t count = reader.fixed(4);
        if (count == 0 && !reader.failed) ++confirmed;
        std::string key;
        while (count--) {
            Stamp stamp;
            reader.eat("\x93\xc5", 2);
            key = reader.taken(reader.fixed(2));
            key.push_back('\0');
            reader.eat("\xcf", 1);
            stamp.sent_ns = reader.fixed(8);
            reader.eat("\xcf", 1);
            stamp.publisher = reader.fixed(8);
            if (reader.failed) break;
            if (stamp.is_ahead(wall_ns))
                ++verdicts[AHEAD];
            else if (Entry *entry = find(key); entry != nullptr)
                hear_claim(entry, stamp);
        }
        return !reader.failed && reader.left() == 0;
    }

    void hear_claim(Entry *entry, const Stamp &stamp) {
        if (stamp < entry->stamp) {
            claim(*entry);
        } else if (entry->stamp < stamp) {
            if (!entry->dead) {
                ++yielded;
                if (entry->stamp.publisher != stamp.publisher) notice(entry->stamp, entry->topic(), "newer");
            }
            forget(entry);
        } else if (!entry->shared) {
            entry->shared = true;
            claim(*entry);
        }
    }

    bool hear_values(Reader &reader, int64_t now_us, uint64_t wall_ns) {
        reader.eat("\x85\xa5nonce\xc4", 8);
        const View back = reader.taken(reader.fixed(1));
        reader.eat("\xa5index\xce", 7);
        reader.fixed(4);
        reader.eat("\xa4last", 5);
        const bool last = reader.fixed(1) == 0xc3;
        reader.eat("\xa5parts\xdc", 7);
        const uint64_t count = reader.fixed(2);
        Reader parts = reader;
        for (uint64_t i = 0; i < count && !reader.failed; ++i) {
            reader.eat("\xc6", 1);
            reader.taken(reader.fixed(4));
        }
        reader.eat("\xa4" "ages\xdc", 6);
        if (reader.fixed(2) != count || reader.failed || reader.left() != 5 * count) return false;
        for (uint64_t i = 0; i < count; ++i) {
            parts.fixed(1);
            const View part = parts.taken(parts.fixed(4));
            reader.fixed(1);
            take(part, now_us, wall_ns, static_cast<uint32_t>(reader.fixed(4)));
        }
        if (last && !back.empty()) {
            std::string part(back);
            finish_claims(part, {}, 0);
            notices.push_back(std::move(part));
        }
        return true;
    }

    // ── publishers

    void notice(const Stamp &stamp, View topic, const char *why) {
        char address[32];
        std::string part(address, std::snprintf(address, sizeof address, "$ack/%016llx/k",
                                                static_cast<unsigned long long>(stamp.publisher)));
        part.append("\0\x95\x01\x00\x01\x00\x83\xa5topic\xdb", 14);
        put(part, topic.size(), 4);
        part.append(topic).append("\xa7sent_ns\xcf");
        put(part, stamp.sent_ns, 8);
        part.append("\xa3why").push_back(static_cast<char>(0xa0 | std::strlen(why)));
        part += why;
        notices.push_back(std::move(part));
    }

    // ── tours

    Entries::iterator where(Tour &tour) {
        tour.at = 0;
        return tour.prefixes.empty() ? entries_.end() : settle(enter_prefix(tour), tour);
    }

    // The first one behind those that were given that may have the prefix.
    Entries::iterator enter_prefix(const Tour &tour) const {
        const std::string &prefix = tour.prefixes[tour.at];
        if (tour.cursor.empty() || tour.cursor < prefix) return entries_.lower_bound(View(prefix));
        return entries_.upper_bound(View(tour.cursor));
    }

    // From here the next one that is wanted.
    Entries::iterator settle(Entries::iterator it, Tour &tour) {
        while (it != entries_.end()) {
            const std::string &prefix = tour.prefixes[tour.at];
            const View key = (*it)->key();
            if (key.compare(0, prefix.size(), prefix) == 0) {
                const char first = key.front();
                if (!prefix.empty() || tour.everything || (first != '$' && first != '~')) return it;
                const char after = static_cast<char>(first + 1);
                it = entries_.lower_bound(View(&after, 1));
            } else if (++tour.at < tour.prefixes.size()) {
                it = enter_prefix(tour);
            } else {
                return entries_.end();
            }
        }
        return it;
    }
};

}  // namespace fabric
