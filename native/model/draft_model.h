#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "drafter.h"
#include "engine.h"

namespace openelm {

// Drafts what another model, a small one of the same vocabulary, finds likeliest. It has a stream
// of its own, which holds what it can of the text from one draft to the next. Where that model
// fails, or the text is longer than its context, it drafts nothing.
class DraftModel : public Drafter {
 public:
  // Throws Error{kInvalidArgument, kOutOfMemory, kDisposed}.
  DraftModel(Engine& engine, int context_length, int num_draft_tokens);

  std::optional<Tokens> draft(int count) override;

  void dispose() override;

 protected:
  void set_bell(const std::shared_ptr<Bell>& bell) override;
  void set_text(Tokens text) override;
  void append(Tokens drawn) override;

 private:
  // Whose bell is rung when the stream has news. It outlives the stream.
  struct News {
    std::mutex mutex;
    std::shared_ptr<Bell> bell;
  };
  bool begin_draft(int count);
  bool go_on();
  void stop();

  const std::shared_ptr<News> news_ = std::make_shared<News>();

  std::mutex mutex_;
  // Guarded by mutex_.
  const std::shared_ptr<Sampler> sampler_;  // greedy
  const std::shared_ptr<Stream> stream_;
  std::vector<int32_t> text_;
  std::vector<int32_t> cached_;  // of which the stream holds as many as its position says
  int left_ = 0;                 // tokens of the draft under way that are not there
  bool has_failed_ = false;
};

}  // namespace openelm
