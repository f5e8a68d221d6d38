// What a conversion is trained on: documents or sampled text as one stream of tokens, cut into
// texts of any length.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/progress.h"
#include "core/result.h"
#include "core/tokens.h"
#include "models/model.h"
#include "runner/convert_config.h"
#include "runner/samples.h"

namespace strata {

struct TextStream {
  Tokens tokens;          // documents one behind the other, a separator behind each
  Tokens prefix;          // in front of each text: what the checkpoint wants there (BOS)
  nlohmann::json source;  // "id" (SHA-256 of tokens and prefix), "tokens", and where they are from
};

// Texts of exactly `length` tokens, one behind the other; the rest of the stream is left out.
std::vector<Tokens> texts_of(const TextStream& stream, std::int64_t length);

// At least `wanted` tokens, where there are as many. `longest` is the longest text that will be cut
// out of it, which sampled texts have as their length where the config says no other. What the
// teacher wrote is kept in `state`, so that an interrupted conversion goes on from there; `model`
// is the teacher, which counts it. Errors: those of the readers; no text at all; a separator that
// is no token; kInterrupted.
Result<TextStream> read_text_stream(const ConvertConfig& config, const TextTools& tools,
                                    std::int64_t wanted, std::int64_t longest,
                                    const std::filesystem::path& state, MeteredModel& model,
                                    Progress& progress);

}  // namespace strata
