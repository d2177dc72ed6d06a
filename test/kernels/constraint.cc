// The machine of constraints against strings that are matched one by one, and masks of tokens
// against every token.

#include "constraint/constraint.h"

#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <thread>

#include "check.h"
#include "suites.h"

namespace openelm {

namespace {

using Node = Regular::Node;

Regular::Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

Node range(Regular& regular, char first, char last) {
  Regular::ByteSet bytes = {};
  for (int byte = first; byte <= last; ++byte) bytes[byte / 32] |= 1u << (byte % 32);
  return regular.set(bytes);
}

Node text(Regular& regular, std::string_view text, Node tail = Regular::kEpsilon) {
  return regular.text(bytes_of(text), tail);
}

bool fits(Regular& regular, Node node, std::string_view text) {
  return regular.accepts(regular.read(node, bytes_of(text)));
}

void test_regular() {
  Regular regular;
  const Node a = range(regular, 'a', 'a');
  const Node letters = range(regular, 'a', 'c');
  check(regular.alt(std::vector{a, range(regular, 'b', 'c')}) == letters, "sets are not joined");
  check(regular.seq(regular.seq(a, letters), a) == regular.seq(a, regular.seq(letters, a)),
        "equal sequences are two nodes");
  check(regular.seq(a, Regular::kEmpty) == Regular::kEmpty, "a sequence with nothing is something");
  // a{2,3} (bc)*
  const Node some = regular.seq(regular.repeat(a, 2, 3),
                                regular.repeat(text(regular, "bc"), 0, Regular::kUnlimited));
  for (const auto& [text, expected] : std::vector<std::pair<std::string, bool>>{{"aa", true},
                                                                                {"aaa", true},
                                                                                {"aabc", true},
                                                                                {"aaabcbc", true},
                                                                                {"", false},
                                                                                {"a", false},
                                                                                {"aaaa", false},
                                                                                {"aab", false},
                                                                                {"aabcb", false},
                                                                                {"bc", false}}) {
    check(fits(regular, some, text) == expected, text);
  }
  check(!regular.is_complete(regular.read(some, bytes_of("aa"))), "aa may go on");
  check(regular.is_complete(text(regular, "")), "nothing can follow the end");
}

// Brackets that close, which no regular expression without references describes.
void test_references() {
  Regular regular;
  const Node nested = regular.reference(true);
  const Node one = text(regular, "(", regular.seq(nested, text(regular, ")")));
  regular.define(nested, regular.repeat(one, 0, Regular::kUnlimited));
  for (const auto* text : {"", "()", "(()())()", "(((())))"})
    check(fits(regular, nested, text), text);
  for (const auto* text : {"(", ")", "())", "(()"}) check(!fits(regular, nested, text), text);
  check(regular.barren().empty(), "brackets without strings");

  const Node endless = regular.reference(false);
  regular.define(endless, text(regular, "a", endless));
  const Node choice = regular.reference(false);
  regular.define(choice, regular.alt(std::vector{text(regular, "b", choice), text(regular, "c")}));
  const Node behind = regular.reference(false);
  regular.define(behind, text(regular, "d", endless));
  check(regular.barren() == std::vector{endless, behind}, "other references are barren");
}

// A vocabulary of all texts of up to three of these bytes, a token without text at each end, and
// one text twice.
std::shared_ptr<const TokenTables> make_tables(std::vector<std::string>& tokens) {
  const std::string letters = "ab\"\\\n\xc3\xa9";
  tokens.assign(1, "");
  for (const char first : letters) {
    tokens.emplace_back(1, first);
    for (const char second : letters) {
      tokens.push_back({first, second});
      for (const char third : letters) tokens.push_back({first, second, third});
    }
  }
  tokens.emplace_back("ab");
  tokens.emplace_back("");
  std::vector<uint8_t> bytes;
  std::vector<int32_t> ends;
  for (const std::string& token : tokens) {
    bytes.insert(bytes.end(), token.begin(), token.end());
    ends.push_back(int32_t(bytes.size()));
  }
  return std::make_shared<TokenTables>(bytes, ends);
}

// Which tokens a text lets come, one by one.
std::vector<bool> allowed(ConstrainedText& text, size_t size) {
  std::vector<float> scores(size, 1);
  text.apply(scores.data(), size);
  std::vector<bool> result;
  for (const float score : scores) result.push_back(score == 1);
  return result;
}

// `"`, up to `most` characters of a JSON string, `"`; é is the only one of two bytes.
Node quoted(Constraint& constraint, int most) {
  Node character = 0;
  const Node node = constraint.with_regular([&](Regular& regular) {
    character = regular.alt(std::vector{range(regular, 'a', 'b'), text(regular, "\xc3\xa9"),
                                        text(regular, "\\\\"), text(regular, "\\\"")});
    return text(regular, "\"",
                regular.seq(regular.repeat(character, 0, most), text(regular, "\"")));
  });
  constraint.set_characters({character});
  return node;
}

// Whether plain tokens are passed over as a whole or not, masks are what each token says for
// itself.
void test_masks() {
  std::vector<std::string> tokens;
  const auto tables = make_tables(tokens);
  const int size = int(tokens.size());
  const std::vector<int32_t> ends = {0, 1};  // one of them has a text
  for (const int most : {1, 2, 3, 7, Regular::kUnlimited}) {
    const auto constraint = std::make_shared<Constraint>(tables);
    const Node node = quoted(*constraint, most);
    ConstrainedText text(constraint, node, ends);
    std::string so_far;
    bool goes_on = true;
    for (int step = 0; step < 12 && goes_on; ++step) {
      const auto masked = allowed(text, tokens.size());
      int next = -1;
      constraint->with_regular([&](Regular& regular) {
        const Node state = regular.read(node, bytes_of(so_far));
        for (int token = 0; token < size; ++token) {
          const Node behind = regular.read(state, bytes_of(tokens[token]));
          const bool is_end = token <= 1;
          const bool expected =
              is_end ? regular.accepts(state) : !tokens[token].empty() && behind != Regular::kEmpty;
          check(masked[token] == expected, so_far + " and then " + tokens[token]);
          if (expected && !is_end && (token + 7 * step) % 5 <= 2) next = token;
        }
        return 0;
      });
      if (next < 0) break;
      so_far += tokens[next];
      goes_on = text.accept(next);
    }
  }
}

void test_limits() {
  std::vector<std::string> tokens;
  const auto tables = make_tables(tokens);
  const auto constraint = std::make_shared<Constraint>(tables);
  const auto fails = [&](const std::function<void()>& body) {
    try {
      body();
    } catch (const ConstraintError&) {
      return true;
    }
    return false;
  };
  const Node nothing =
      constraint->with_regular([](Regular& regular) { return text(regular, "z"); });
  ConstrainedText stuck(constraint, nothing, {});
  check(fails([&] { allowed(stuck, tokens.size()); }), "a mask without a token");
  Regular regular;
  check(fails([&] {
          for (int i = 0;; ++i)
            regular.repeat(Regular::kEpsilon + 1, i, i), regular.reference(false);
        }),
        "nodes without end");
  check(fails([&] {
          std::vector<Node> parts;
          for (int i = 0; i < 5000; ++i) parts.push_back(text(regular, std::to_string(i) + "x"));
          regular.alt(parts);
        }),
        "alternatives without end");
}

// Texts that share a constraint, on several threads, get the masks that each gets alone.
void test_threads() {
  std::vector<std::string> tokens;
  const auto tables = make_tables(tokens);
  const auto follow = [&](const std::shared_ptr<Constraint>& constraint, Node node, int seed) {
    ConstrainedText text(constraint, node, {0});
    std::vector<int> chosen;
    for (int step = 0; step < 40; ++step) {
      const auto masked = allowed(text, tokens.size());
      int token = (seed * 31 + step * 17) % int(tokens.size());
      while (!masked[token]) token = (token + 1) % int(tokens.size());
      chosen.push_back(token);
      if (!text.accept(token)) break;
    }
    return chosen;
  };
  const auto shared = std::make_shared<Constraint>(tables);
  const Node node = quoted(*shared, 60);
  std::vector<std::vector<int>> together(4);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] { together[i] = follow(shared, node, i); });
  }
  for (auto& thread : threads) thread.join();
  for (int i = 0; i < 4; ++i) {
    const auto own = std::make_shared<Constraint>(tables);
    const Node start = quoted(*own, 60);
    check(together[i] == follow(own, start, i), "others change what a text lets come");
  }
}

void test_words() {
  for (const size_t size : {1, 31, 32, 33, 64, 100}) {
    std::vector<uint32_t> words((size + 31) / 32);
    for (size_t i = 0; i < words.size(); ++i)
      words[i] = i % 3 == 0 ? 0x80000005u : i % 3 == 1 ? ~0u : 0;
    std::vector<float> scores(size + 1, 2);
    keep_scores(words, scores.data(), size);
    for (size_t id = 0; id < size; ++id) {
      const bool is_kept = (words[id / 32] >> (id % 32) & 1) != 0;
      check(scores[id] == (is_kept ? 2 : -std::numeric_limits<float>::infinity()), "a score");
    }
    check(scores[size] == 2, "a score behind the last");
  }
}

}  // namespace

void test_constraints() {
  test("constraints, regular expressions", test_regular);
  test("constraints, references", test_references);
  test("constraints, masks", test_masks);
  test("constraints, limits", test_limits);
  test("constraints, threads", test_threads);
  test("constraints, words of masks", test_words);
}

}  // namespace openelm
