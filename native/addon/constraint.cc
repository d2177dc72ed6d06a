#include "constraint.h"

#include <algorithm>
#include <string>

#include "addon_data.h"

namespace openelm {

// Tell the objects of these classes from others that wrap a pointer.
static constexpr napi_type_tag kTablesTag = {0x6f70656e656c6d54, 0x6f6b656e54616200};
static constexpr napi_type_tag kConstraintTag = {0x6f70656e656c6d43, 0x6f6e737472616900};
static constexpr napi_type_tag kTextTag = {0x6f70656e656c6d54, 0x6578740000000000};

static bool has_tag(const Napi::Value& value, const napi_type_tag& tag) {
  return value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&tag);
}

static Error expected(const std::string& what) {
  return Error(ErrorCode::kInvalidArgument, "expected " + what);
}

static Regular::Bytes bytes_of(const Napi::Value& value) {
  const bool is_array =
      value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array;
  if (!is_array) throw expected("a Uint8Array");
  const auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.ElementLength()};
}

// A count from 0 up; what is too large for an int is unlimited.
static int count(const Napi::Value& value) {
  const double number = value.As<Napi::Number>().DoubleValue();
  return number >= Regular::kUnlimited ? Regular::kUnlimited : std::max(0, int(number));
}

void init_constraints(Napi::Env env, Napi::Object exports) {
  exports.Set("TokenTables", TokenTablesWrap::DefineClass(env, "TokenTables", {}));
  exports.Set("Constraint", ConstraintWrap::define(env));
  exports.Set("ConstrainedText", ConstrainedTextWrap::DefineClass(env, "ConstrainedText", {}));
}

TokenTablesWrap::TokenTablesWrap(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  guarded(info.Env(), [&] {
    tables_ = std::make_shared<TokenTables>(bytes_of(info[0]), int32s(info[1], "ends"));
    info.This().As<Napi::Object>().TypeTag(&kTablesTag);
  });
}

std::shared_ptr<const TokenTables> TokenTablesWrap::from(const Napi::Value& value) {
  if (!has_tag(value, kTablesTag)) throw expected("the tables of a vocabulary");
  return Unwrap(value.As<Napi::Object>())->tables_;
}

Napi::Function ConstraintWrap::define(Napi::Env env) {
  return DefineClass(env, "Constraint",
                     {
                         InstanceMethod<&ConstraintWrap::set>("set"),
                         InstanceMethod<&ConstraintWrap::text>("text"),
                         InstanceMethod<&ConstraintWrap::seq>("seq"),
                         InstanceMethod<&ConstraintWrap::alt>("alt"),
                         InstanceMethod<&ConstraintWrap::optional>("optional"),
                         InstanceMethod<&ConstraintWrap::repeat>("repeat"),
                         InstanceMethod<&ConstraintWrap::reference>("reference"),
                         InstanceMethod<&ConstraintWrap::define_reference>("define"),
                         InstanceMethod<&ConstraintWrap::barren>("barren"),
                         InstanceMethod<&ConstraintWrap::accepts>("accepts"),
                         InstanceMethod<&ConstraintWrap::nexts>("nexts"),
                         InstanceMethod<&ConstraintWrap::read>("read"),
                         InstanceMethod<&ConstraintWrap::set_characters>("setCharacters"),
                         InstanceAccessor<&ConstraintWrap::is_large>("isLarge"),
                     });
}

ConstraintWrap::ConstraintWrap(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  guarded(info.Env(), [&] {
    constraint_ = std::make_shared<Constraint>(TokenTablesWrap::from(info[0]));
    auto object = info.This().As<Napi::Object>();
    object.TypeTag(&kConstraintTag);
    object.Set("empty", Regular::kEmpty);
    object.Set("epsilon", Regular::kEpsilon);
  });
}

ConstraintWrap::~ConstraintWrap() { Napi::MemoryManagement::AdjustExternalMemory(Env(), -told_); }

std::shared_ptr<Constraint> ConstraintWrap::from(const Napi::Value& value) {
  if (!has_tag(value, kConstraintTag)) throw expected("a constraint");
  return Unwrap(value.As<Napi::Object>())->constraint_;
}

static void check_node(const Regular& regular, Regular::Node node) {
  if (node < 0 || node >= regular.size()) throw expected("a node of the constraint");
}

template <typename Use>
Napi::Value ConstraintWrap::with_nodes(Info info, size_t first, const Use& use) {
  return guarded(info.Env(), [&] {
    std::vector<Node> nodes;
    for (size_t i = first; i < info.Length() && info[i].IsNumber(); ++i) {
      nodes.push_back(info[i].As<Napi::Number>());
    }
    return constraint_->with_regular([&](Regular& regular) {
      for (const Node node : nodes) check_node(regular, node);
      return Napi::Value::From(info.Env(), use(regular, nodes));
    });
  });
}

Napi::Value ConstraintWrap::set(Info info) {
  return with_nodes(info, info.Length(), [&](Regular& regular, auto&) {
    Regular::ByteSet bytes = {};
    for (size_t i = 0; i < info.Length(); ++i) {
      const auto range = info[i].As<Napi::Array>();
      const uint32_t first = range.Get(0u).As<Napi::Number>();
      const uint32_t last = range.Get(1u).As<Napi::Number>();
      for (uint32_t byte = first; byte <= std::min(last, 255u); ++byte) {
        bytes[byte / 32] |= 1u << (byte % 32);
      }
    }
    return regular.set(bytes);
  });
}

Napi::Value ConstraintWrap::text(Info info) {
  return with_nodes(info, 1, [&](Regular& regular, const std::vector<Node>& nodes) {
    const Node tail = nodes.empty() ? Regular::kEpsilon : nodes[0];
    if (!info[0].IsString()) return regular.text(bytes_of(info[0]), tail);
    const std::string text = info[0].As<Napi::String>();
    const auto* const bytes = reinterpret_cast<const uint8_t*>(text.data());
    return regular.text({bytes, text.size()}, tail);
  });
}

Napi::Value ConstraintWrap::seq(Info info) {
  return with_nodes(info, 0, [](Regular& regular, const std::vector<Node>& nodes) {
    Node result = Regular::kEpsilon;
    for (size_t i = nodes.size(); i-- > 0;) result = regular.seq(nodes[i], result);
    return result;
  });
}

Napi::Value ConstraintWrap::alt(Info info) {
  return with_nodes(
      info, 0, [](Regular& regular, const std::vector<Node>& nodes) { return regular.alt(nodes); });
}

Napi::Value ConstraintWrap::optional(Info info) {
  return with_nodes(info, 0, [](Regular& regular, std::vector<Node>& nodes) {
    nodes.push_back(Regular::kEpsilon);
    return regular.alt(nodes);
  });
}

Napi::Value ConstraintWrap::repeat(Info info) {
  const Napi::Value body = info[0];
  return guarded(info.Env(), [&] {
    const int max = info[2].IsUndefined() ? Regular::kUnlimited : count(info[2]);
    const int min = count(info[1]);
    return constraint_->with_regular([&](Regular& regular) {
      const Node node = body.As<Napi::Number>();
      check_node(regular, node);
      return Napi::Value::From(info.Env(), regular.repeat(node, min, max));
    });
  });
}

Napi::Value ConstraintWrap::reference(Info info) {
  return with_nodes(info, info.Length(), [&](Regular& regular, auto&) {
    return regular.reference(info[0].ToBoolean());
  });
}

Napi::Value ConstraintWrap::define_reference(Info info) {
  return with_nodes(info, 0, [](Regular& regular, const std::vector<Node>& nodes) {
    if (nodes.size() != 2) throw expected("a reference and a node");
    regular.define(nodes[0], nodes[1]);
    return true;
  });
}

Napi::Value ConstraintWrap::barren(Info info) {
  return guarded(info.Env(), [&] {
    const auto nodes = constraint_->with_regular([](Regular& regular) { return regular.barren(); });
    return to_array(info.Env(), nodes);
  });
}

Napi::Value ConstraintWrap::accepts(Info info) {
  return with_nodes(info, 0, [](Regular& regular, const std::vector<Node>& nodes) {
    return !nodes.empty() && regular.accepts(nodes[0]);
  });
}

Napi::Value ConstraintWrap::nexts(Info info) {
  return with_nodes(info, 0, [&](Regular& regular, const std::vector<Node>& nodes) {
    std::vector<Node> nexts(256, Regular::kEmpty);
    for (int byte = 0; byte < 256 && !nodes.empty(); ++byte) {
      nexts[byte] = regular.step(nodes[0], uint8_t(byte));
    }
    return to_array(info.Env(), nexts);
  });
}

Napi::Value ConstraintWrap::read(Info info) {
  return guarded(info.Env(), [&] {
    const auto bytes = bytes_of(info[1]);
    return constraint_->with_regular([&](Regular& regular) {
      const Node node = info[0].As<Napi::Number>();
      check_node(regular, node);
      return Napi::Value::From(info.Env(), regular.read(node, bytes));
    });
  });
}

Napi::Value ConstraintWrap::set_characters(Info info) {
  return with_nodes(info, 0, [&](Regular&, const std::vector<Node>& nodes) {
    constraint_->set_characters(nodes);
    return true;
  });
}

// Tells the garbage collector too, whoever asks.
Napi::Value ConstraintWrap::is_large(Info info) {
  const auto bytes = int64_t(constraint_->bytes());
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), bytes - std::exchange(told_, bytes));
  return Napi::Boolean::New(info.Env(), constraint_->is_large());
}

ConstrainedTextWrap::ConstrainedTextWrap(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  guarded(info.Env(), [&] {
    const auto constraint = ConstraintWrap::from(info[0]);
    const Regular::Node start = info[1].As<Napi::Number>();
    const auto ends = int32s(info[2], "ends");
    if (!constraint->has(start)) throw expected("a node of the constraint");
    vocab_size_ = constraint->tables().vocab_size();
    const auto is_token = [&](int32_t id) { return id >= 0 && size_t(id) < vocab_size_; };
    if (!std::all_of(ends.begin(), ends.end(), is_token)) throw expected("ends in the vocabulary");
    text_ = std::make_shared<ConstrainedText>(constraint, start,
                                              std::vector<int32_t>(ends.begin(), ends.end()));
    info.This().As<Napi::Object>().TypeTag(&kTextTag);
  });
}

std::shared_ptr<ConstrainedText> ConstrainedTextWrap::from(const Napi::Value& value,
                                                           int vocab_size) {
  if (!has_tag(value, kTextTag)) return nullptr;
  const auto* const wrap = Unwrap(value.As<Napi::Object>());
  if (wrap->vocab_size_ != size_t(vocab_size)) throw expected("a constraint of the vocabulary");
  return wrap->text_;
}

}  // namespace openelm
