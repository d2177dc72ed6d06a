#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "../error.h"

namespace openelm {

// What is wrong with a caller's constraint.
class ConstraintError : public Error {
 public:
  explicit ConstraintError(const std::string& message)
      : Error(ErrorCode::kInvalidArgument, message) {}
};

// What it takes is more than anybody should wait for.
ConstraintError too_complex(const std::string& what);

// Regular expressions over bytes, with references, by which a language may contain itself. Each
// node exists once. What may follow a byte, step(), is Brzozowski's derivative; it is kept in a
// table with a row of 256 for each state, so that reading a byte again is one look.
//
// Memory is bounded: who makes too many nodes gets an error, and a table that is full is begun
// anew. One call at a time.
class Regular {
 public:
  // A set of byte strings, and thereby a state of the machine that reads one: what may still come.
  // Equal numbers are equal sets.
  using Node = int32_t;
  using Bytes = std::span<const uint8_t>;
  using ByteSet = std::array<uint32_t, 8>;  // bit i % 32 of word i / 32 for byte i

  static constexpr Node kEmpty = 0;    // no string at all
  static constexpr Node kEpsilon = 1;  // the empty string alone
  static constexpr int kUnlimited = std::numeric_limits<int>::max();

  Regular();

  int size() const { return int(entries_.size()); }  // of all nodes
  // What alternations and sets hold, in words of 4 bytes.
  size_t num_words() const { return words_.size(); }
  size_t num_rows() const { return rows_.size(); }  // of the table, of 1 KiB each
  uint64_t work() const { return work_; }           // derivatives that were computed

  // Strings of one byte.
  Node set(const ByteSet& bytes);
  // These bytes, and then what `tail` says.
  Node text(Bytes bytes, Node tail);
  Node seq(Node first, Node second);
  Node alt(std::span<const Node> parts);
  // From `min` to `max` strings of a set, one after the other.
  Node repeat(Node body, int min, int max);
  // A set that is defined later, and may then contain itself, but not begin with itself. `accepts`
  // says whether the empty string will be in it.
  Node reference(bool accepts);
  void define(Node reference, Node definition);
  // The references that stand for no string at all, because each string of them would hold another.
  std::vector<Node> barren() const;

  // Whether the empty string is in the set, that is, whether nothing has to come any more.
  bool accepts(Node node) const { return entries_[node].accepts; }
  // Whether nothing can come any more.
  bool is_complete(Node node);
  // What may follow a byte, or several.
  Node step(Node node, uint8_t byte);
  Node read(Node node, Bytes bytes);

  // How often one of `bodies` may still come first in a state, whichever of the alternatives that
  // it is made of is taken: the most, and the least. 0 where a state begins otherwise.
  struct Room {
    int most = 0;
    int least = kUnlimited;
  };
  Room room_for(Node state, std::span<const Node> bodies) const;

 private:
  enum class Kind : uint8_t { kEmpty, kEpsilon, kSet, kSeq, kAlt, kRepeat, kReference };
  // Of a sequence first and second are its parts; of a repeat a body and the limits; of a set and
  // of an alternation where its words begin and how many there are; of a reference the definition.
  struct Entry {
    Kind kind;
    bool accepts;
    int32_t first = 0, second = 0, third = 0;
    int32_t row = -1;  // in the table
    uint32_t hash = 0;
  };
  using Row = std::array<Node, 256>;

  Node add(const Entry& entry);
  Node intern(Entry entry, std::span<const int32_t> words = {});
  bool is_same(const Entry& a, const Entry& b, std::span<const int32_t> words) const;
  void place(Node node);
  std::span<const int32_t> words_of(const Entry& entry) const;
  bool has(Node set, uint8_t byte) const;
  Node link(Node first, Node second);
  Node join(size_t begin);
  Node derive(Node node, uint8_t byte);
  Row& row_for(Node node);

  std::vector<Entry> entries_;
  std::vector<int32_t> words_;
  std::vector<Node> places_;  // a hash table of all nodes but references; kUnknown where it is free
  std::vector<std::unique_ptr<Row>> rows_;
  size_t num_rows_ = 0;      // in use
  std::vector<Node> stack_;  // alternatives that derive() has found
  std::vector<Node> parts_;  // scratch of join()
  uint64_t work_ = 0;
};

}  // namespace openelm
