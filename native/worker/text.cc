#include <cerrno>
#include <cstring>
#include <unistd.h>
#include <vector>

#include "worker/guest.h"

namespace insitu::guest {
namespace {

using v8::Isolate;
using v8::Local;
using v8::MaybeLocal;
using v8::NewStringType;
using v8::String;
using v8::Value;

bool IsAscii(const uint8_t* data, size_t size) {
  size_t at = 0;
  uint64_t seen = 0;
  // Blocks, so that the inner loop has no branch and becomes vector code.
  while (size - at >= 64) {
    for (size_t end = at + 64; at < end; at += 8) {
      uint64_t word;
      std::memcpy(&word, data + at, 8);
      seen |= word;
    }
    if (seen & 0x8080808080808080u) return false;
  }
  for (; at < size; at++) seen |= data[at];
  return (seen & 0x8080808080808080u) == 0;
}

MaybeLocal<String> OneByte(Isolate* isolate, const uint8_t* data, size_t size) {
  if (size > String::kMaxLength) return {};
  return String::NewFromOneByte(isolate, data, NewStringType::kNormal, static_cast<int>(size));
}

// UTF-8 to UTF-16; the number of units, or -1 if the bytes are not valid UTF-8. `out` has room for
// one unit a byte. V8's own decoder takes every byte through a state machine; here runs of ASCII are
// widened a word at a time, and the rest is a branch a character.
ptrdiff_t Transcode(const uint8_t* data, size_t size, uint16_t* out) {
  const uint16_t* start = out;
  const uint8_t* at = data;
  const uint8_t* end = data + size;
  const auto continues = [](uint8_t byte) { return (byte & 0xc0) == 0x80; };
  while (at < end) {
    while (end - at >= 8) {
      uint64_t word;
      std::memcpy(&word, at, 8);
      if (word & 0x8080808080808080u) break;
      for (int i = 0; i < 8; i++) out[i] = at[i];
      at += 8;
      out += 8;
    }
    if (at == end) break;
    const uint8_t lead = *at;
    if (lead < 0x80) {
      *out++ = lead;
      at++;
    } else if (lead < 0xe0) {
      if (lead < 0xc2 || end - at < 2 || !continues(at[1])) return -1;
      *out++ = static_cast<uint16_t>((lead & 0x1f) << 6 | (at[1] & 0x3f));
      at += 2;
    } else if (lead < 0xf0) {
      if (end - at < 3 || !continues(at[1]) || !continues(at[2])) return -1;
      const uint32_t point = (lead & 0x0fu) << 12 | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu);
      if (point < 0x800 || (point >= 0xd800 && point < 0xe000)) return -1;
      *out++ = static_cast<uint16_t>(point);
      at += 3;
    } else {
      if (lead > 0xf4 || end - at < 4 || !continues(at[1]) || !continues(at[2]) ||
          !continues(at[3])) {
        return -1;
      }
      const uint32_t point = (lead & 0x07u) << 18 | (at[1] & 0x3fu) << 12 |
                             (at[2] & 0x3fu) << 6 | (at[3] & 0x3fu);
      if (point < 0x10000 || point > 0x10ffff) return -1;
      *out++ = static_cast<uint16_t>(0xd7c0 + (point >> 10));
      *out++ = static_cast<uint16_t>(0xdc00 + (point & 0x3ff));
      at += 4;
    }
  }
  return out - start;
}

// Where transcoding pays: lines. A longer text goes to V8, which needs no second buffer.
constexpr size_t kTranscodeBytes = 1 << 20;

// Invalid sequences become U+FFFD as the Encoding Standard has it; V8's decoder follows that.
MaybeLocal<String> DecodeMultibyte(Isolate* isolate, const uint8_t* data, size_t size) {
  if (size > String::kMaxLength) return {};
  if (size <= kTranscodeBytes) {
    static thread_local std::vector<uint16_t> units;
    if (units.size() < size) units.resize(size);
    const ptrdiff_t count = Transcode(data, size, units.data());
    if (count >= 0) {
      return String::NewFromTwoByte(isolate, units.data(), NewStringType::kNormal,
                                    static_cast<int>(count));
    }
  }
  return String::NewFromUtf8(isolate, reinterpret_cast<const char*>(data), NewStringType::kNormal,
                             static_cast<int>(size));
}

MaybeLocal<String> Decode(Isolate* isolate, const uint8_t* data, size_t size) {
  return IsAscii(data, size) ? OneByte(isolate, data, size) : DecodeMultibyte(isolate, data, size);
}

// preadInto(fd, bytes, at, length, position): bytes read, or the errno, negated.
void PreadInto(const Arguments& args) {
  Isolate* isolate = args.GetIsolate();
  Bytes bytes;
  if (args.Length() != 5 || !args[0]->IsInt32() || !Bytes::From(args[1], bytes) ||
      !args[2]->IsNumber() || !args[3]->IsNumber() || !args[4]->IsNumber()) {
    return Throw(isolate, "preadInto: wrong arguments");
  }
  double at = args[2].As<v8::Number>()->Value();
  double length = args[3].As<v8::Number>()->Value();
  double position = args[4].As<v8::Number>()->Value();
  double room = static_cast<double>(bytes.size);
  if (!(at >= 0 && length >= 0 && position >= 0 && at <= room && length <= room - at &&
        position < 9007199254740992.0)) {
    return Throw(isolate, "preadInto: out of range");
  }
  ssize_t count;
  do {
    count = pread(args[0].As<v8::Int32>()->Value(), bytes.data + static_cast<size_t>(at),
                  static_cast<size_t>(length), static_cast<off_t>(position));
  } while (count < 0 && errno == EINTR);
  args.GetReturnValue().Set(static_cast<double>(count < 0 ? -errno : count));
}

// splitLines(bytes, start, end, final): an array of the lines in that range, without "\n" or
// "\r\n", and last in it the number of bytes that they took. What follows the last "\n" counts as a
// line only if `final`.
void SplitLines(const Arguments& args) {
  Isolate* isolate = args.GetIsolate();
  Bytes bytes;
  if (args.Length() != 4 || !Bytes::From(args[0], bytes) || !args[1]->IsUint32() ||
      !args[2]->IsUint32() || args[2].As<v8::Uint32>()->Value() > bytes.size ||
      args[1].As<v8::Uint32>()->Value() > args[2].As<v8::Uint32>()->Value()) {
    return Throw(isolate, "splitLines: wrong arguments");
  }
  const uint8_t* start = bytes.data + args[1].As<v8::Uint32>()->Value();
  const uint8_t* end = bytes.data + args[2].As<v8::Uint32>()->Value();
  const bool last = args[3]->IsTrue();
  // Decided once for a whole range: most are ASCII to the last byte.
  const bool ascii = IsAscii(start, static_cast<size_t>(end - start));

  std::vector<Local<Value>> lines;
  lines.reserve(static_cast<size_t>(end - start) / 32 + 2);
  const uint8_t* at = start;
  while (at < end) {
    const auto* newline =
        static_cast<const uint8_t*>(std::memchr(at, '\n', static_cast<size_t>(end - at)));
    if (!newline && !last) break;
    const uint8_t* stop = newline ? newline : end;
    if (newline && stop > at && stop[-1] == '\r') stop--;
    const auto size = static_cast<size_t>(stop - at);
    Local<String> line;
    if (!(ascii ? OneByte(isolate, at, size) : Decode(isolate, at, size)).ToLocal(&line)) {
      return Throw(isolate, "splitLines: a line does not fit a string");
    }
    lines.push_back(line);
    at = newline ? newline + 1 : end;
  }
  lines.push_back(v8::Number::New(isolate, static_cast<double>(at - start)));
  args.GetReturnValue().Set(v8::Array::New(isolate, lines.data(), lines.size()));
}

// Length of the longest prefix that is whole, valid UTF-8.
size_t ValidPrefix(const uint8_t* data, size_t size) {
  size_t at = 0;
  while (at < size) {
    const uint8_t lead = data[at];
    if (lead < 0x80) {
      at++;
      continue;
    }
    // Bounds of the second byte rule out overlong forms, surrogates and what is above U+10FFFF.
    uint8_t low = 0x80, high = 0xbf;
    size_t more;
    if (lead >= 0xc2 && lead <= 0xdf) {
      more = 1;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      more = 2;
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      more = 3;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    } else {
      return at;
    }
    if (size - at <= more || data[at + 1] < low || data[at + 1] > high) return at;
    for (size_t i = 2; i <= more; i++) {
      if ((data[at + i] & 0xc0) != 0x80) return at;
    }
    at += more + 1;
  }
  return at;
}

// decodeUtf8(bytes): a string; undefined if it would be longer than a string can be.
void DecodeUtf8(const Arguments& args) {
  Bytes bytes;
  if (args.Length() != 1 || !Bytes::From(args[0], bytes)) {
    return Throw(args.GetIsolate(), "decodeUtf8: wrong arguments");
  }
  Local<String> text;
  if (Decode(args.GetIsolate(), bytes.data, bytes.size).ToLocal(&text)) {
    args.GetReturnValue().Set(text);
  }
}

void ValidUtf8Prefix(const Arguments& args) {
  Bytes bytes;
  if (args.Length() != 1 || !Bytes::From(args[0], bytes)) {
    return Throw(args.GetIsolate(), "validUtf8Prefix: wrong arguments");
  }
  args.GetReturnValue().Set(static_cast<double>(ValidPrefix(bytes.data, bytes.size)));
}

void Utf8Length(const Arguments& args) {
  if (args.Length() != 1 || !args[0]->IsString()) {
    return Throw(args.GetIsolate(), "utf8Length: wrong arguments");
  }
  args.GetReturnValue().Set(
      static_cast<double>(args[0].As<String>()->Utf8LengthV2(args.GetIsolate())));
}

// encodeUtf8Into(text, bytes, at): [UTF-16 units read, bytes written]; stops before a character that
// does not fit. Lone surrogates become U+FFFD.
void EncodeUtf8Into(const Arguments& args) {
  Isolate* isolate = args.GetIsolate();
  Bytes bytes;
  if (args.Length() != 3 || !args[0]->IsString() || !Bytes::From(args[1], bytes) ||
      !args[2]->IsUint32() || args[2].As<v8::Uint32>()->Value() > bytes.size) {
    return Throw(isolate, "encodeUtf8Into: wrong arguments");
  }
  const size_t at = args[2].As<v8::Uint32>()->Value();
  size_t read = 0;
  const size_t written = args[0].As<String>()->WriteUtf8V2(
      isolate, reinterpret_cast<char*>(bytes.data) + at, bytes.size - at,
      String::WriteFlags::kReplaceInvalidUtf8, &read);
  Local<Value> result[] = {v8::Number::New(isolate, static_cast<double>(read)),
                           v8::Number::New(isolate, static_cast<double>(written))};
  args.GetReturnValue().Set(v8::Array::New(isolate, result, 2));
}

}  // namespace

void InstallText(Isolate*, Local<v8::Context> context, Local<v8::Object> target) {
  Define(context, target, "preadInto", PreadInto);
  Define(context, target, "splitLines", SplitLines);
  Define(context, target, "decodeUtf8", DecodeUtf8);
  Define(context, target, "validUtf8Prefix", ValidUtf8Prefix);
  Define(context, target, "utf8Length", Utf8Length);
  Define(context, target, "encodeUtf8Into", EncodeUtf8Into);
}

}  // namespace insitu::guest
