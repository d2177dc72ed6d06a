#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "drafter.h"
#include "sampler.h"

namespace openelm {

struct Output;

// A token drawn, no token where tokens have been appended, or why a job failed.
struct JobResult {
  Sample sample;
  std::exception_ptr error;
};

// What is being done with a stream. What the owner of the stream changes (asked, ahead, mailbox) is
// guarded by the engine's mutex; the rest is the engine's thread's while the stream is in a batch.
struct Job {
  using Tokens = std::span<const int32_t>;
  using UseLogits = std::function<void(int row, std::span<const float> logits)>;

  std::vector<int32_t> tokens = {};  // to be appended now, those of a draft at their end
  int first_row = 0, end_row = 0;    // of them: those whose logits are used
  UseLogits use = nullptr;
  std::shared_ptr<Sampler> sampler = nullptr;  // of draw(), in the place of `use`
  std::shared_ptr<TokenMask> mask = nullptr;   // of what is drawn
  // Of draw(): one or none. A list, which the engine takes over without an allocation.
  std::list<std::shared_ptr<Drafter>> drafter = {};
  int ahead = 0;
  int asked = 0;             // tokens of the call that take() has not answered yet, else 0
  int held = 0;              // tokens in the cache before those to be appended
  int appended = 0;          // of them
  int drafted = 0;           // of them
  bool wants_draft = false;  // before the next batch
  std::vector<JobResult> results = {};  // of the batch, on their way into the mailbox
  std::vector<JobResult> mailbox = {};

  // How many results may be added.
  int room() const { return (asked > 0 ? 1 : 0) + ahead - int(mailbox.size()); }
  bool can_run() const { return room() > 0 && !wants_draft; }
  bool has_all() const { return ahead == 0 && !mailbox.empty(); }
  bool is_prompt() const { return int(tokens.size()) - drafted > 1; }

  // How long a draft to ask for now, where drafts may have `most` tokens. None where wants_draft
  // is false, or becomes so, or what has been drawn must be taken first.
  int draft_length(int most);

  // Asks the drafter, and appends what it says.
  void ask_drafter(int count, int vocab_size);
  void cut_draft(int most);

  // Draws from the logits after tokens[first_row] and those that follow, which stand in the output
  // from `row` on, until a token is not the one drafted.
  void draw(const Output& output, int row, int vocab_size);

  // Moves the results into the mailbox. Returns the error that ends the job, if there is one;
  // otherwise the job goes on behind what was drawn, whose last token is to be appended next.
  std::exception_ptr deliver();
};

}  // namespace openelm
