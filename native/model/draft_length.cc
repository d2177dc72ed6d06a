#include "draft_length.h"

#include <algorithm>

#include "../error.h"
#include "drafter.h"

namespace openelm {

DraftLength::DraftLength(int most) : most_(most) {
  if (most < 1 || most > kMaxDraftTokens) {
    throw Error(ErrorCode::kInvalidArgument, "expected drafts of 1 to 16 tokens");
  }
}

int DraftLength::wanted() const {
  if (share() <= kWorthWhile) return left_ > 0 ? 0 : 1;
  int length = 0;
  for (double all_right = share(); length < most_ && all_right > kWorthWhile; ++length) {
    all_right *= share();
  }
  return length;
}

void DraftLength::update(int drafted, int accepted) {
  if (drafted == 0) {
    left_ = std::max(0, left_ - 1);
    return;
  }
  right_ = right_ * kMemory + accepted;
  wrong_ = wrong_ * kMemory + (accepted < drafted ? 1 : 0);
  if (accepted > 0) {
    pause_ = 1;
    left_ = 0;
  } else {
    left_ = pause_;
    pause_ = std::min(pause_ * 2, kLongestPause);
  }
}

}  // namespace openelm
