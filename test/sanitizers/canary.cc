// What each sanitizer has to see, in an addon as ours are: loaded into Node by the same command as
// the tests. Built by scripts/test-sanitized only.

#include <napi.h>

#include <climits>
#include <memory>
#include <thread>

namespace {

Napi::Value overflow(const Napi::CallbackInfo& info) {
  const auto bytes = std::make_unique<char[]>(16);
  volatile size_t past = 16;
  return Napi::Number::New(info.Env(), bytes[past]);
}

Napi::Value undefined(const Napi::CallbackInfo& info) {
  volatile int most = INT_MAX;
  most = most + 1;
  return Napi::Number::New(info.Env(), most);
}

Napi::Value race(const Napi::CallbackInfo& info) {
  int shared = 0;
  const auto add = [&] { ++shared; };
  std::thread first(add);
  std::thread second(add);
  first.join();
  second.join();
  return Napi::Number::New(info.Env(), shared);
}

Napi::Object define(Napi::Env env, Napi::Object exports) {
  exports.Set("address", Napi::Function::New(env, overflow));
  exports.Set("undefined", Napi::Function::New(env, undefined));
  exports.Set("thread", Napi::Function::New(env, race));
  return exports;
}

}  // namespace

NODE_API_MODULE(canary, define)
