// Compiling and evaluating the guest's program inside its own context. Done here, not through
// isolated-vm's handles, so that what the program throws is caught and described in its own context,
// and never becomes an exception of the trusted side.
#include <string>
#include <unordered_map>
#include <vector>

#include "worker/guest.h"

namespace insitu::guest {
namespace {

using v8::Context;
using v8::Global;
using v8::Isolate;
using v8::Local;
using v8::MaybeLocal;
using v8::Module;
using v8::Script;
using v8::String;
using v8::Value;

constexpr std::string_view kLibraryName = ".compute";

struct Unit {
  Global<Script> script;
  Global<Module> module;
  bool present() const { return !script.IsEmpty() || !module.IsEmpty(); }
};

struct State {
  Unit program;
  Unit library;
  std::vector<std::pair<Global<v8::Promise>, Global<Value>>> rejected;
  // Where the last throw out of the program came from; for values that carry no stack.
  struct {
    Global<Value> value;
    int line = 0;
    int column = 0;
  } thrown;
};

// V8's module and promise hooks are told nothing but the isolate. An isolate's entry is made when
// the runtime is installed and dropped by `forgetProgram`; all of it happens on the main thread.
std::unordered_map<Isolate*, State>& States() {
  static auto* states = new std::unordered_map<Isolate*, State>();
  return *states;
}

State& StateOf(Isolate* isolate) { return States()[isolate]; }

Local<Value> NumberOrUndefined(Isolate* isolate, v8::Maybe<int> value, int offset) {
  int number = 0;
  if (!value.To(&number) || number + offset < 1) return v8::Undefined(isolate);
  return v8::Number::New(isolate, number + offset);
}

Local<v8::Array> Failure(Isolate* isolate, Local<Value> name, Local<Value> message,
                         Local<Value> line, Local<Value> column) {
  Local<Value> parts[] = {name, message, line, column};
  return v8::Array::New(isolate, parts, 4);
}

// [name, message, line, column] of what a compiler threw: its own words, no guest code involved.
Local<v8::Array> CompileFailure(Isolate* isolate, Local<Context> context, v8::TryCatch& caught) {
  Local<Value> line = v8::Undefined(isolate), column = v8::Undefined(isolate);
  Local<Value> text = Text(isolate, "it does not compile");
  Local<v8::Message> message = caught.Message();
  if (!message.IsEmpty()) {
    line = NumberOrUndefined(isolate, message->GetLineNumber(context), 0);
    column = NumberOrUndefined(isolate, message->GetStartColumn(context), 1);
    text = message->Get();
  }
  return Failure(isolate, Text(isolate, "SyntaxError"), text, line, column);
}

// The only import there is: a query's `import program from '.compute'`.
MaybeLocal<Module> Resolve(Local<Context>, Local<String> specifier, Local<v8::FixedArray>,
                           Local<Module>) {
  Isolate* isolate = Isolate::GetCurrent();
  State& state = StateOf(isolate);
  String::Utf8Value name(isolate, specifier);
  if (*name && std::string_view(*name, name.length()) == kLibraryName &&
      !state.library.module.IsEmpty()) {
    return state.library.module.Get(isolate);
  }
  Throw(isolate, "import is not available here");
  return {};
}

MaybeLocal<Value> EvaluateScriptAsModule(Local<Context> context, Local<Module> module) {
  Isolate* isolate = Isolate::GetCurrent();
  Local<Value> completion;
  if (!StateOf(isolate).library.script.Get(isolate)->Run(context).ToLocal(&completion)) return {};
  if (module->SetSyntheticModuleExport(isolate, Text(isolate, "default"), completion).IsNothing()) {
    return {};
  }
  Local<v8::Promise::Resolver> done;
  if (!v8::Promise::Resolver::New(context).ToLocal(&done)) return {};
  if (done->Resolve(context, v8::Undefined(isolate)).IsNothing()) return {};
  return done->GetPromise();
}

Local<Value> ImportRefusal(Isolate* isolate, Local<Context> context, const Unit& unit,
                           bool has_library) {
  Local<Module> module = unit.module.Get(isolate);
  Local<v8::FixedArray> requests = module->GetModuleRequests();
  for (int i = 0; i < requests->Length(); i++) {
    auto request = requests->Get(context, i).As<v8::ModuleRequest>();
    String::Utf8Value name(isolate, request->GetSpecifier());
    std::string specifier(*name ? *name : "", *name ? name.length() : 0);
    if (specifier == kLibraryName && has_library && request->GetImportAttributes()->Length() == 0) {
      continue;
    }
    if (specifier.size() > 100) specifier.resize(100);
    std::string why = specifier == kLibraryName
                          ? "cannot import '.compute': no program is attached here"
                          : "cannot import '" + specifier +
                                "': a program stands alone; bundle what it needs into it";
    v8::Location at = module->SourceOffsetToLocation(request->GetSourceOffset());
    return Failure(isolate, Text(isolate, "SyntaxError"), Text(isolate, why),
                   v8::Number::New(isolate, at.GetLineNumber() + 1),
                   v8::Number::New(isolate, at.GetColumnNumber() + 1));
  }
  return v8::Undefined(isolate);
}

// compileProgram(source, asModule, asLibrary): undefined, or [name, message, line, column].
void CompileProgram(const Arguments& args) {
  Isolate* isolate = args.GetIsolate();
  Local<Context> context = isolate->GetCurrentContext();
  if (args.Length() != 3 || !args[0]->IsString()) {
    return Throw(isolate, "compileProgram: wrong arguments");
  }
  State& state = StateOf(isolate);
  const bool as_module = args[1]->IsTrue();
  const bool as_library = args[2]->IsTrue();
  Unit unit;
  v8::TryCatch caught(isolate);
  // Its errors are the only ones whose frames carry this name; the runtime's have others.
  Local<Value> name = Text(isolate, as_library ? kLibraryName : "program");
  v8::ScriptCompiler::Source source(args[0].As<String>(), 
      v8::ScriptOrigin(name, 0, 0, false, -1, Local<Value>(), false, false, as_module));
  if (as_module) {
    Local<Module> module;
    if (!v8::ScriptCompiler::CompileModule(isolate, &source).ToLocal(&module)) {
      return args.GetReturnValue().Set(CompileFailure(isolate, context, caught));
    }
    unit.module.Reset(isolate, module);
    Local<Value> refusal =
        ImportRefusal(isolate, context, unit, !as_library && state.library.present());
    if (!refusal->IsUndefined()) return args.GetReturnValue().Set(refusal);
    if (!as_library && !module->InstantiateModule(context, Resolve).FromMaybe(false)) {
      return args.GetReturnValue().Set(CompileFailure(isolate, context, caught));
    }
  } else {
    Local<Script> script;
    if (!v8::ScriptCompiler::Compile(context, &source).ToLocal(&script)) {
      return args.GetReturnValue().Set(CompileFailure(isolate, context, caught));
    }
    unit.script.Reset(isolate, script);
    if (as_library) {
      auto exports = std::vector<Local<String>>{Text(isolate, "default")};
      unit.module.Reset(isolate, Module::CreateSyntheticModule(
                                     isolate, Text(isolate, kLibraryName),
                                     v8::MemorySpan<const Local<String>>(exports.data(), 1),
                                     EvaluateScriptAsModule));
    }
  }
  (as_library ? state.library : state.program) = std::move(unit);
}

bool IsPrograms(Isolate* isolate, Local<Value> script_name) {
  if (script_name.IsEmpty() || !script_name->IsString()) return false;
  String::Utf8Value name(isolate, script_name);
  std::string_view text(*name ? *name : "", *name ? name.length() : 0);
  return text == "program" || text == kLibraryName;
}

// Also notes where an exception came from, before it goes on.
class Witness {
 public:
  Witness(Isolate* isolate, Local<Context> context)
      : isolate_(isolate), context_(context), caught_(isolate) {}

  ~Witness() {
    if (!caught_.HasCaught() || caught_.HasTerminated()) return;
    Local<v8::Message> message = caught_.Message();
    if (!message.IsEmpty() && IsPrograms(isolate_, message->GetScriptResourceName())) {
      auto& thrown = StateOf(isolate_).thrown;
      thrown.value.Reset(isolate_, caught_.Exception());
      thrown.line = message->GetLineNumber(context_).FromMaybe(0);
      thrown.column = message->GetStartColumn(context_).FromMaybe(-1) + 1;
    }
    caught_.ReThrow();
  }

 private:
  Isolate* isolate_;
  Local<Context> context_;
  v8::TryCatch caught_;
};

// callProgram(function, argument): what the function returns or throws.
void CallProgram(const Arguments& args) {
  Isolate* isolate = args.GetIsolate();
  Local<Context> context = isolate->GetCurrentContext();
  if (args.Length() != 2 || !args[0]->IsFunction()) {
    return Throw(isolate, "callProgram: wrong arguments");
  }
  Witness witness(isolate, context);
  Local<Value> argument[] = {args[1]};
  Local<Value> result;
  if (args[0].As<v8::Function>()->Call(context, v8::Undefined(isolate), 1, argument)
          .ToLocal(&result)) {
    args.GetReturnValue().Set(result);
  }
}

// evaluateProgram(): a script's completion value; a module's evaluation promise. Throws what it
// throws.
void EvaluateProgram(const Arguments& args) {
  Isolate* isolate = args.GetIsolate();
  Local<Context> context = isolate->GetCurrentContext();
  State& state = StateOf(isolate);
  if (!state.program.present()) return Throw(isolate, "evaluateProgram: nothing is compiled");
  Witness witness(isolate, context);
  Local<Value> result;
  if (state.program.module.IsEmpty()) {
    if (!state.program.script.Get(isolate)->Run(context).ToLocal(&result)) return;
  } else {
    if (!state.program.module.Get(isolate)->Evaluate(context).ToLocal(&result)) return;
  }
  args.GetReturnValue().Set(result);
}

// The program's namespace object; undefined for a script.
void ProgramNamespace(const Arguments& args) {
  State& state = StateOf(args.GetIsolate());
  if (state.program.module.IsEmpty()) return;
  args.GetReturnValue().Set(state.program.module.Get(args.GetIsolate())->GetModuleNamespace());
}

std::string Frame(Isolate* isolate, Local<v8::StackFrame> frame) {
  String::Utf8Value script(isolate, frame->GetScriptName());
  String::Utf8Value function(isolate, frame->GetFunctionName());
  std::string place = std::string(*script ? *script : "", *script ? script.length() : 0) + ":" +
                      std::to_string(frame->GetLineNumber()) + ":" +
                      std::to_string(frame->GetColumn());
  std::string called(*function ? *function : "", *function ? function.length() : 0);
  if (called.size() > 100) called.resize(100);
  return "    at " + (called.empty() ? place : called + " (" + place + ")");
}

// whereThrown(value): [frames, line, column] as V8 recorded them when the error was made, the
// program's own frames only. Reads no property, so no guest code runs.
void WhereThrown(const Arguments& args) {
  Isolate* isolate = args.GetIsolate();
  Local<Context> context = isolate->GetCurrentContext();
  if (args.Length() != 1) return Throw(isolate, "whereThrown: wrong arguments");
  std::string frames;
  Local<Value> line = v8::Undefined(isolate), column = v8::Undefined(isolate);
  Local<v8::StackTrace> stack = v8::Exception::GetStackTrace(args[0]);
  if (!stack.IsEmpty()) {
    for (int i = 0; i < stack->GetFrameCount(); i++) {
      Local<v8::StackFrame> frame = stack->GetFrame(isolate, static_cast<uint32_t>(i));
      if (!IsPrograms(isolate, frame->GetScriptName())) continue;
      if (frames.empty()) {
        line = v8::Number::New(isolate, frame->GetLineNumber());
        column = v8::Number::New(isolate, frame->GetColumn());
      } else {
        frames += "\n";
      }
      frames += Frame(isolate, frame);
    }
  }
  State& state = StateOf(isolate);
  if (frames.empty() && !state.thrown.value.IsEmpty() && state.thrown.value == args[0]) {
    line = NumberOrUndefined(isolate, v8::Just(state.thrown.line), 0);
    column = NumberOrUndefined(isolate, v8::Just(state.thrown.column), 0);
  } else if (frames.empty()) {
    Local<v8::Message> message = v8::Exception::CreateMessage(isolate, args[0]);
    if (!message.IsEmpty() && IsPrograms(isolate, message->GetScriptResourceName())) {
      line = NumberOrUndefined(isolate, message->GetLineNumber(context), 0);
      column = NumberOrUndefined(isolate, message->GetStartColumn(context), 1);
    }
  }
  Local<Value> parts[] = {Text(isolate, frames), line, column};
  args.GetReturnValue().Set(v8::Array::New(isolate, parts, 3));
}

void OnRejection(v8::PromiseRejectMessage message) {
  Local<v8::Promise> promise = message.GetPromise();
  Isolate* isolate = Isolate::GetCurrent();
  auto& rejected = StateOf(isolate).rejected;
  if (message.GetEvent() == v8::kPromiseRejectWithNoHandler) {
    // More than a few say no more than the first does, and a flood must not pile up.
    if (rejected.size() >= 64) return;
    rejected.emplace_back(Global<v8::Promise>(isolate, promise),
                          Global<Value>(isolate, message.GetValue()));
  } else if (message.GetEvent() == v8::kPromiseHandlerAddedAfterReject) {
    std::erase_if(rejected, [&](auto& entry) { return entry.first == promise; });
  }
}

// The first rejection that nobody handles, in an array; undefined if there is none.
void UnhandledRejection(const Arguments& args) {
  Isolate* isolate = args.GetIsolate();
  auto& rejected = StateOf(isolate).rejected;
  if (rejected.empty()) return;
  Local<Value> value[] = {rejected.front().second.Get(isolate)};
  args.GetReturnValue().Set(v8::Array::New(isolate, value, 1));
}

MaybeLocal<v8::Promise> RefuseDynamicImport(Local<Context> context, Local<v8::Data>, Local<Value>,
                                            Local<String>, Local<v8::FixedArray>) {
  Isolate* isolate = Isolate::GetCurrent();
  Local<v8::Promise::Resolver> resolver;
  if (!v8::Promise::Resolver::New(context).ToLocal(&resolver)) return {};
  auto error = v8::Exception::TypeError(Text(
      isolate, "import() is not available: a program stands alone; bundle what it needs into it"));
  if (resolver->Reject(context, error).IsNothing()) return {};
  return resolver->GetPromise();
}

// Lets go of everything; to be called before the isolate is disposed.
void ForgetProgram(const Arguments& args) { States().erase(args.GetIsolate()); }

}  // namespace

void InstallProgram(Isolate* isolate, Local<Context> context, Local<v8::Object> target) {
  // What an isolate that died without `forgetProgram` left under this address is dead with it: its
  // handles must not be touched, so the entry is given up, not destroyed.
  auto stale = States().extract(isolate);
  if (!stale.empty()) new auto(std::move(stale));
  StateOf(isolate);
  isolate->SetPromiseRejectCallback(OnRejection);
  isolate->SetHostImportModuleDynamicallyCallback(RefuseDynamicImport);
  isolate->SetCaptureStackTraceForUncaughtExceptions(true, 32, v8::StackTrace::kDetailed);
  Define(context, target, "compileProgram", CompileProgram);
  Define(context, target, "evaluateProgram", EvaluateProgram);
  Define(context, target, "callProgram", CallProgram);
  Define(context, target, "programNamespace", ProgramNamespace);
  Define(context, target, "whereThrown", WhereThrown);
  Define(context, target, "unhandledRejection", UnhandledRejection);
  Define(context, target, "forgetProgram", ForgetProgram);
}

}  // namespace insitu::guest
