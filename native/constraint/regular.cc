#include "regular.h"

#include <algorithm>
#include <cstring>

namespace openelm {

static constexpr int kMaxNodes = 1 << 20;
static constexpr size_t kMaxWords = 1 << 24;
static constexpr size_t kMaxAlternatives = 4096;
static constexpr size_t kMaxRows = 1 << 15;
static constexpr int32_t kUnknown = -1;

ConstraintError too_complex(const std::string& what) {
  return ConstraintError("the response constraint is too complex: " + what);
}

Regular::Regular() : places_(1024, kUnknown) {
  add({.kind = Kind::kEmpty, .accepts = false});
  add({.kind = Kind::kEpsilon, .accepts = true});
}

Regular::Node Regular::add(const Entry& entry) {
  if (size() >= kMaxNodes) throw too_complex("too many states");
  entries_.push_back(entry);
  return size() - 1;
}

std::span<const int32_t> Regular::words_of(const Entry& entry) const {
  if (entry.kind != Kind::kAlt && entry.kind != Kind::kSet) return {};
  return std::span(words_).subspan(entry.first, entry.second);
}

bool Regular::is_same(const Entry& a, const Entry& b, std::span<const int32_t> words) const {
  if (a.hash != b.hash || a.kind != b.kind || a.second != b.second) return false;
  if (words.empty()) return a.first == b.first && a.third == b.third;
  const auto others = words_of(b);
  return std::equal(words.begin(), words.end(), others.begin(), others.end());
}

// `words` are those of a set or an alternation.
Regular::Node Regular::intern(Entry entry, std::span<const int32_t> words) {
  uint64_t hash = uint64_t(entry.kind);
  const auto mix = [&](int32_t word) {
    hash = (hash ^ uint32_t(word)) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 32;
  };
  entry.second += int(words.size());
  for (const int32_t word : words) mix(word);
  for (const int32_t word : {entry.first, entry.second, entry.third}) mix(word);
  entry.hash = uint32_t(hash);
  const size_t last = places_.size() - 1;
  for (size_t at = entry.hash & last; places_[at] != kUnknown; at = (at + 1) & last) {
    if (is_same(entry, entries_[places_[at]], words)) return places_[at];
  }
  if (!words.empty()) {
    if (words_.size() + words.size() > kMaxWords) throw too_complex("too many ways to go on");
    entry.first = int32_t(words_.size());
  }
  const Node node = add(entry);
  words_.insert(words_.end(), words.begin(), words.end());
  if (entries_.size() * 2 > places_.size()) {
    places_.assign(places_.size() * 2, kUnknown);
    for (Node other = kEpsilon + 1; other < node; ++other) {
      if (entries_[other].kind != Kind::kReference) place(other);
    }
  }
  place(node);
  return node;
}

void Regular::place(Node node) {
  const size_t last = places_.size() - 1;
  size_t at = entries_[node].hash & last;
  while (places_[at] != kUnknown) at = (at + 1) & last;
  places_[at] = node;
}

Regular::Node Regular::set(const ByteSet& bytes) {
  std::array<int32_t, 8> words;
  std::memcpy(words.data(), bytes.data(), sizeof(words));
  if (std::all_of(words.begin(), words.end(), [](int32_t word) { return word == 0; })) {
    return kEmpty;
  }
  return intern({.kind = Kind::kSet, .accepts = false}, words);
}

bool Regular::has(Node set, uint8_t byte) const {
  return (uint32_t(words_[entries_[set].first + byte / 32]) >> (byte % 32) & 1) != 0;
}

Regular::Node Regular::text(Bytes bytes, Node tail) {
  Node node = tail;
  for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte) {
    ByteSet one = {};
    one[*byte / 32] = 1u << (*byte % 32);
    node = seq(set(one), node);
  }
  return node;
}

Regular::Node Regular::link(Node first, Node second) {
  const bool accepts = entries_[first].accepts && entries_[second].accepts;
  return intern({.kind = Kind::kSeq, .accepts = accepts, .first = first, .second = second});
}

// A sequence whose first part is one itself becomes one that is nested to the right.
Regular::Node Regular::seq(Node first, Node second) {
  if (first == kEmpty || second == kEmpty) return kEmpty;
  if (first == kEpsilon) return second;
  if (second == kEpsilon) return first;
  if (entries_[first].kind != Kind::kSeq) return link(first, second);
  std::vector<Node> chain;
  Node last = first;
  for (; entries_[last].kind == Kind::kSeq; last = entries_[last].second) {
    chain.push_back(entries_[last].first);
  }
  Node node = link(last, second);
  for (auto part = chain.rbegin(); part != chain.rend(); ++part) node = link(*part, node);
  return node;
}

Regular::Node Regular::alt(std::span<const Node> parts) {
  const size_t begin = stack_.size();
  stack_.insert(stack_.end(), parts.begin(), parts.end());
  return join(begin);
}

// The alternation of the nodes on the stack from `begin` on, which are taken from it. Sets become
// one set.
Regular::Node Regular::join(size_t begin) {
  const std::span found(stack_.begin() + ptrdiff_t(begin), stack_.end());
  if (found.size() == 1) {
    const Node only = found[0];
    stack_.resize(begin);
    return only;
  }
  parts_.clear();
  ByteSet bytes = {};
  const auto add_part = [&](Node part) {
    const Entry& entry = entries_[part];
    if (entry.kind == Kind::kSet) {
      for (int i = 0; i < 8; ++i) bytes[i] |= uint32_t(words_[entry.first + i]);
    } else if (part != kEmpty) {
      parts_.push_back(part);
    }
  };
  for (const Node node : found) {
    if (entries_[node].kind != Kind::kAlt) {
      add_part(node);
    } else {
      for (const Node part : words_of(entries_[node])) add_part(part);
    }
  }
  stack_.resize(begin);
  if (const Node all = set(bytes); all != kEmpty) parts_.push_back(all);
  std::sort(parts_.begin(), parts_.end());
  parts_.erase(std::unique(parts_.begin(), parts_.end()), parts_.end());
  if (parts_.empty()) return kEmpty;
  if (parts_.size() == 1) return parts_[0];
  if (parts_.size() > kMaxAlternatives) throw too_complex("too many ways to go on");
  const bool accepts =
      std::any_of(parts_.begin(), parts_.end(), [&](Node part) { return entries_[part].accepts; });
  return intern({.kind = Kind::kAlt, .accepts = accepts}, parts_);
}

Regular::Node Regular::repeat(Node body, int min, int max) {
  if (max < min || (min > 0 && body == kEmpty)) return kEmpty;
  if (max == 0 || body == kEmpty || body == kEpsilon) return kEpsilon;
  if (min == 1 && max == 1) return body;
  const int least = accepts(body) ? 0 : min;
  return intern(
      {.kind = Kind::kRepeat, .accepts = least == 0, .first = body, .second = least, .third = max});
}

Regular::Node Regular::reference(bool accepts) {
  return add({.kind = Kind::kReference, .accepts = accepts, .first = kUnknown});
}

void Regular::define(Node reference, Node definition) {
  if (entries_[reference].kind == Kind::kReference) entries_[reference].first = definition;
}

// From the nodes that are sure to hold a string to all that hold one because of them.
std::vector<Regular::Node> Regular::barren() const {
  const auto parts_of = [&](const Entry& entry, const auto& use) {
    if (entry.kind == Kind::kAlt) {
      for (const Node part : words_of(entry)) use(part);
    } else if (entry.kind != Kind::kSet && entry.first > kEpsilon) {
      use(entry.first);
      if (entry.kind == Kind::kSeq) use(entry.second);
    }
  };
  std::vector<int> begins(entries_.size() + 1);  // of the nodes that have a node as a part
  for (const Entry& entry : entries_) parts_of(entry, [&](Node part) { ++begins[part + 1]; });
  for (size_t i = 1; i < begins.size(); ++i) begins[i] += begins[i - 1];
  std::vector<Node> wholes(begins.back());
  std::vector<int> ends(begins.begin(), begins.end() - 1);
  for (Node node = 0; node < size(); ++node) {
    parts_of(entries_[node], [&](Node part) { wholes[ends[part]++] = node; });
  }
  std::vector<bool> is_fertile(entries_.size());
  std::vector<Node> found;
  const auto add_found = [&](Node node) {
    if (is_fertile[node]) return;
    is_fertile[node] = true;
    found.push_back(node);
  };
  for (Node node = 0; node < size(); ++node) {
    const Entry& entry = entries_[node];
    const bool is_sure = entry.kind == Kind::kEpsilon || entry.kind == Kind::kSet ||
                         (entry.kind == Kind::kReference && entry.first == kEpsilon) ||
                         (entry.kind == Kind::kRepeat && entry.accepts);
    const bool has_epsilon = entry.kind == Kind::kAlt && entry.accepts;
    if (is_sure || has_epsilon) add_found(node);
  }
  while (!found.empty()) {
    const Node part = found.back();
    found.pop_back();
    for (int i = begins[part]; i < begins[part + 1]; ++i) {
      const Entry& whole = entries_[wholes[i]];
      const bool is_whole =
          whole.kind != Kind::kSeq || (is_fertile[whole.first] && is_fertile[whole.second]);
      if (is_whole) add_found(wholes[i]);
    }
  }
  std::vector<Node> result;
  for (Node node = 0; node < size(); ++node) {
    if (entries_[node].kind == Kind::kReference && !is_fertile[node]) result.push_back(node);
  }
  return result;
}

bool Regular::is_complete(Node node) {
  if (!accepts(node)) return false;
  for (int byte = 0; byte < 256; ++byte) {
    if (step(node, uint8_t(byte)) != kEmpty) return false;
  }
  return true;
}

Regular::Node Regular::step(Node node, uint8_t byte) {
  const Entry& entry = entries_[node];
  if (entry.row != kUnknown) {
    const Node next = (*rows_[entry.row])[byte];
    if (next != kUnknown) return next;
  }
  switch (entry.kind) {
    case Kind::kEmpty:
    case Kind::kEpsilon:
      return kEmpty;
    case Kind::kSet:
      return has(node, byte) ? kEpsilon : kEmpty;
    case Kind::kSeq:
      if (entries_[entry.first].kind == Kind::kSet) {
        return has(entry.first, byte) ? entry.second : kEmpty;
      }
      break;
    default:
      break;
  }
  const size_t begin = stack_.size();
  Node next;
  try {
    next = derive(node, byte);
  } catch (...) {
    stack_.resize(begin);
    throw;
  }
  row_for(node)[byte] = next;
  return next;
}

Regular::Node Regular::read(Node node, Bytes bytes) {
  for (const uint8_t byte : bytes) node = step(node, byte);
  return node;
}

// Entries and words may move whenever a node is made.
Regular::Node Regular::derive(Node node, uint8_t byte) {
  ++work_;
  const Entry entry = entries_[node];
  if (entry.kind == Kind::kReference) {
    return entry.first == kUnknown ? kEmpty : step(entry.first, byte);
  }
  if (entry.kind == Kind::kRepeat) {
    const Node after = step(entry.first, byte);
    if (after == kEmpty) return kEmpty;
    const int most = entry.third == kUnlimited ? kUnlimited : entry.third - 1;
    return seq(after, repeat(entry.first, std::max(0, entry.second - 1), most));
  }
  const size_t begin = stack_.size();
  const auto go_on = [&](Node after) {
    if (after != kEmpty) stack_.push_back(after);
  };
  if (entry.kind == Kind::kAlt) {
    work_ += entry.second;
    for (int i = 0; i < entry.second; ++i) go_on(step(words_[entry.first + i], byte));
    return join(begin);
  }
  for (Node at = node;; at = entries_[at].second) {
    if (entries_[at].kind != Kind::kSeq) {
      go_on(step(at, byte));
      break;
    }
    const Node first = entries_[at].first;
    const Node after = step(first, byte);
    go_on(seq(after, entries_[at].second));
    if (!accepts(first)) break;
  }
  return join(begin);
}

Regular::Row& Regular::row_for(Node node) {
  int32_t& row = entries_[node].row;
  if (row == kUnknown) {
    if (num_rows_ == kMaxRows) {
      for (Entry& entry : entries_) entry.row = kUnknown;
      num_rows_ = 0;
    }
    if (num_rows_ == rows_.size()) rows_.push_back(std::make_unique<Row>());
    rows_[num_rows_]->fill(kUnknown);
    row = int32_t(num_rows_++);
  }
  return *rows_[row];
}

Regular::Room Regular::room_for(Node state, std::span<const Node> bodies) const {
  Room room;
  const auto look_at = [&](Node alternative) {
    const Entry& entry = entries_[alternative];
    const Entry& first = entry.kind == Kind::kSeq ? entries_[entry.first] : entry;
    const bool is_text = first.kind == Kind::kRepeat &&
                         std::find(bodies.begin(), bodies.end(), first.first) != bodies.end();
    room.most = std::max(room.most, is_text ? first.third : 0);
    room.least = std::min(room.least, is_text ? first.third : 0);
  };
  if (entries_[state].kind != Kind::kAlt) {
    look_at(state);
  } else {
    for (const Node alternative : words_of(entries_[state])) look_at(alternative);
  }
  return room;
}

}  // namespace openelm
