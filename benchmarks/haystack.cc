#include "benchmarks/haystack.h"

#include "benchmarks/essays.h"
#include "core/sha256.h"

namespace strata {
namespace {

HaystackText noise_text() {
  return {[] { return std::string(kNoiseUnit); }, {{"kind", "noise"}}, ""};
}

HaystackText needle_text(const HaystackSeat& seat) {
  return {[draw = seat.distractor] { return needle_sentence(draw()); }, {{"kind", "needle"}}, ""};
}

// `ruler`: every sample reads the split's one text from its beginning, so all samples are one
// cluster.
HaystackText bundled_text(const std::shared_ptr<const BundledLibrary>& library, bool random_start,
                          const HaystackSeat& seat) {
  const Rng rng =
      random_start ? Rng(seat.seed, seat.stream + "/text") : Rng(0, "niah/bundled text");
  const auto text = std::make_shared<BundledText>(*library, rng);
  return {[library, text] { return text->next_sentence(); },
          {{"kind", "bundled"}, {"generator", BundledLibrary::content_id()}},
          random_start ? "" : "bundled text from its beginning"};
}

// Stretches of the split's text are disjoint; samples that read the same one are a cluster. `order`
// deals them out evenly.
HaystackText essay_text(const std::shared_ptr<const EssayText>& essays,
                        const std::vector<std::size_t>& order, const HaystackSeat& seat) {
  const std::size_t block = order[static_cast<std::size_t>(seat.index) % order.size()];
  const std::size_t start = essays->block_starts[block];
  const EssaySentence& first = essays->sentences[start];
  const auto at = std::make_shared<std::size_t>(start);
  nlohmann::json source = {{"kind", "essay"},
                           {"file", essays->files[first.file]},
                           {"sentence", start},
                           {"sentences", essays->sentences.size()},
                           {"shared_sentences_removed", essays->removed_sentences}};
  return {[essays, at] { return essays->sentences[(*at)++ % essays->sentences.size()].text; },
          std::move(source), fmt::format("essay sentences from {} on", start)};
}

}  // namespace

Result<Haystack> make_haystack(const HaystackChoice& choice, const SampleRequest& request) {
  const bool random_start = choice.start == HaystackStart::kRandom;
  if (choice.kind == NiahHaystack::kNoise)
    return Haystack{"\n", true, [](const HaystackSeat&) { return noise_text(); }};
  if (choice.kind == NiahHaystack::kNeedle) return Haystack{"\n", true, needle_text};
  if (choice.kind == NiahHaystack::kBundled) {
    auto library = std::make_shared<const BundledLibrary>(request.split);
    return Haystack{" ", false, [library, random_start](const HaystackSeat& seat) {
                      return bundled_text(library, random_start, seat);
                    }};
  }
  STRATA_CHECK(choice.kind == NiahHaystack::kEssay);
  ASSIGN_OR_RETURN(const auto files, read_essays(request.data_dir));
  ASSIGN_OR_RETURN(EssayText prepared,
                   prepare_essays(files, request.tokenizer, request.split, choice.block_tokens));
  auto essays = std::make_shared<const EssayText>(std::move(prepared));
  std::vector<std::size_t> order = {0};
  if (random_start) {
    Rng rng(request.seed, fmt::format("niah/essay order/{}", to_string(request.split)));
    order = rng.sample(essays->block_starts.size(), essays->block_starts.size());
  }
  return Haystack{" ", false, [essays, order](const HaystackSeat& seat) {
                    return essay_text(essays, order, seat);
                  }};
}

Result<std::string> haystack_content_id(NiahHaystack kind, const SampleRequest& request) {
  if (kind == NiahHaystack::kBundled) return BundledLibrary::content_id();
  Sha256 hash;
  hash.update(config::enum_name(kind));
  if (kind == NiahHaystack::kEssay) {
    ASSIGN_OR_RETURN(const auto files, read_essays(request.data_dir));
    for (const EssayFile& file : files)
      hash.update_u64(file.name.size())
          .update(file.name)
          .update_u64(file.text.size())
          .update(file.text);
  }
  return hash.hex_digest();
}

}  // namespace strata
