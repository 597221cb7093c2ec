#include "sandbox/binding.h"

#include "sandbox/channel.h"
#include "sandbox/process.h"

namespace insitu {

void register_sandbox(Napi::Env env, Napi::Object exports) {
  auto sandbox = Napi::Object::New(env);
  sandbox.Set("Channel", Channel::define(env));
  sandbox.Set("Process", Process::define(env));
  sandbox.Set("socketPair", Napi::Function::New(env, socket_pair, "socketPair"));
  sandbox.Set("pipe", Napi::Function::New(env, make_pipe, "pipe"));
  sandbox.Set("spoolFile", Napi::Function::New(env, spool_file, "spoolFile"));
  exports.Set("sandbox", sandbox);
}

}  // namespace insitu
