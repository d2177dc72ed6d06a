#include "job.h"

#include <algorithm>
#include <array>
#include <utility>

#include "../backend.h"

namespace openelm {

int Job::draft_length(int most) {
  if (!wants_draft || room() <= 0) return 0;
  const int wanted = drafter.front()->wanted();
  const int possible = std::min(most, room() - 1);
  // A short draft where a long one is worth while wastes a batch: the caller will soon have taken
  // what is there.
  if (wanted > possible && !mailbox.empty()) return 0;
  wants_draft = std::min(wanted, possible) > 0;
  return std::max(0, std::min(wanted, possible));
}

void Job::ask_drafter(int count, int vocab_size) {
  const auto draft = drafter.front()->draft(count);
  if (!draft) return;
  wants_draft = false;
  for (const int32_t id : draft->first(std::min(size_t(count), draft->size()))) {
    if (id < 0 || id >= vocab_size) break;
    tokens.push_back(id);
    ++drafted;
  }
  end_row = int(tokens.size());
}

void Job::cut_draft(int most) {
  const int cut = std::clamp(drafted - most, 0, drafted);
  drafted -= cut;
  tokens.resize(tokens.size() - size_t(cut));
  if (cut > 0) end_row = int(tokens.size());
}

void Job::draw(const Output& output, int row, int vocab_size) {
  const int given = int(tokens.size()) - drafted;
  const size_t size = size_t(vocab_size);
  std::array<int32_t, kMaxDraftTokens + 1> drawn;
  int count = 0;
  sampler->accept(tokens.data(), size_t(given));
  for (bool is_drafted = true; is_drafted; ++row) {
    Sample sample = output.tokens ? sampler->take(output.tokens[row])
                                  : sampler->sample(output.logits + size_t(row) * size, mask.get());
    is_drafted = count < drafted && sample.token == tokens[size_t(given + count)];
    sample.is_drafted = is_drafted;
    drawn[size_t(count++)] = sample.token;
    results.push_back({std::move(sample), nullptr});
    if (is_drafted) sampler->accept(&drawn[size_t(count - 1)], 1);
  }
  if (!drafter.empty()) {
    drafter.front()->accept(Tokens(drawn).first(size_t(count)), drafted, count - 1);
  }
}

std::exception_ptr Job::deliver() {
  const int drawn = int(results.size());
  const int32_t last = results.back().sample.token;
  const std::exception_ptr error = results.back().error;
  if (error) results.pop_back();
  for (JobResult& result : results) mailbox.push_back(std::move(result));
  results.clear();
  if (error) return error;
  held += std::exchange(appended, 0) - drafted + drawn - 1;
  tokens.assign(1, last);
  drafted = 0;
  wants_draft = !drafter.empty();
  first_row = 0;
  end_row = 1;
  return nullptr;
}

}  // namespace openelm
