#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "../constraint/constraint.h"

namespace openelm {

// The classes of lib/native-constraint.ts.
void init_constraints(Napi::Env env, Napi::Object exports);

// NativeTokenTables.
class TokenTablesWrap : public Napi::ObjectWrap<TokenTablesWrap> {
 public:
  explicit TokenTablesWrap(const Napi::CallbackInfo& info);
  static std::shared_ptr<const TokenTables> from(const Napi::Value& value);

 private:
  std::shared_ptr<const TokenTables> tables_;
};

// NativeConstraint.
class ConstraintWrap : public Napi::ObjectWrap<ConstraintWrap> {
 public:
  explicit ConstraintWrap(const Napi::CallbackInfo& info);
  ~ConstraintWrap() override;
  static Napi::Function define(Napi::Env env);
  static std::shared_ptr<Constraint> from(const Napi::Value& value);

 private:
  using Node = Regular::Node;
  using Info = const Napi::CallbackInfo&;

  // Runs it with the machine, and with the arguments from the first on that must be its nodes.
  template <typename Use>
  Napi::Value with_nodes(Info info, size_t first, const Use& use);

  Napi::Value set(Info info);
  Napi::Value text(Info info);
  Napi::Value seq(Info info);
  Napi::Value alt(Info info);
  Napi::Value optional(Info info);
  Napi::Value repeat(Info info);
  Napi::Value reference(Info info);
  Napi::Value define_reference(Info info);
  Napi::Value barren(Info info);
  Napi::Value accepts(Info info);
  Napi::Value nexts(Info info);
  Napi::Value read(Info info);
  Napi::Value set_characters(Info info);
  Napi::Value is_large(Info info);

  std::shared_ptr<Constraint> constraint_;
  int64_t told_ = 0;  // bytes, to the garbage collector
};

// NativeConstrainedText.
class ConstrainedTextWrap : public Napi::ObjectWrap<ConstrainedTextWrap> {
 public:
  explicit ConstrainedTextWrap(const Napi::CallbackInfo& info);

  // Null where the value is something else. Throws kInvalidArgument where it is of another
  // vocabulary.
  static std::shared_ptr<ConstrainedText> from(const Napi::Value& value, int vocab_size);

 private:
  std::shared_ptr<ConstrainedText> text_;
  size_t vocab_size_ = 0;
};

}  // namespace openelm
