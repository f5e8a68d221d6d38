// The eight needle tasks of RULER: texts byte for byte, counts, lengths, and where needles stand.
#include "benchmarks/ruler_niah.h"

#include <cmath>
#include <cstdlib>
#include <regex>
#include <set>

#include "benchmarks/essays.h"
#include "benchmarks/needles.h"
#include "models/tokenizer/tokenizer.h"
#include "ruler_fixture.h"

namespace strata {
namespace {

constexpr std::array kNiahTasks = {
    RulerTask::kNiahSingle1,    RulerTask::kNiahSingle2,    RulerTask::kNiahSingle3,
    RulerTask::kNiahMultikey1,  RulerTask::kNiahMultikey2,  RulerTask::kNiahMultikey3,
    RulerTask::kNiahMultivalue, RulerTask::kNiahMultiquery,
};

// The haystack: between the template's two parts.
std::string context_of(const Sample& sample) {
  const std::string message = user_message(sample);
  const auto begin = message.find("afterwards.\n") + std::string("afterwards.\n").size();
  return message.substr(begin, message.rfind("\nWhat ") - begin);
}

TEST(RulerNiah, TheSingularTextsAreRulersByteForByte) {
  const RulerNiahTexts texts = ruler_niah_texts(RulerWord::kNumbers, "calm-otter", true);
  EXPECT_EQ(texts.head,
            "A special magic number is hidden within the following text. Make sure to memorize it. "
            "I will quiz you about the number afterwards.\n");
  EXPECT_EQ(texts.tail,
            "\nWhat is the special magic number for calm-otter mentioned in the provided text?");
  EXPECT_EQ(texts.answer_prefix,
            " The special magic number for calm-otter mentioned in the provided text is");
  EXPECT_EQ(texts.head, std::string(kNiahInstruction) + "\n");  // what benchmark=niah asks
}

TEST(RulerNiah, ThePluralTextsAreRulersByteForByte) {
  const RulerNiahTexts texts =
      ruler_niah_texts(RulerWord::kUuids, "rare-hare, and calm-otter", false);
  EXPECT_EQ(texts.head,
            "Some special magic uuids are hidden within the following text. Make sure to memorize "
            "it. I will quiz you about the uuids afterwards.\n");
  EXPECT_EQ(texts.tail,
            "\nWhat are all the special magic uuids for rare-hare, and calm-otter mentioned in the "
            "provided text?");
  EXPECT_EQ(texts.answer_prefix,
            " The special magic uuids for rare-hare, and calm-otter mentioned in the provided text "
            "are");
}

// "are" within a key is no verb.
TEST(RulerNiah, TheSingularFormLeavesTheKeyAsItIs) {
  EXPECT_EQ(ruler_niah_texts(RulerWord::kNumbers, "bare-square", true).tail,
            "\nWhat is the special magic number for bare-square mentioned in the provided text?");
}

TEST(RulerNiah, NeedlesAreRulersByteForByte) {
  EXPECT_EQ(ruler_needle(RulerWord::kNumbers, "calm-otter", "1234567"),
            "One of the special magic numbers for calm-otter is: 1234567.");
  EXPECT_EQ(ruler_needle(RulerWord::kUuids, "a-b", "c"),
            "One of the special magic uuids for a-b is: c.");
}

TEST(RulerNiah, EachTaskHidesAndAsksAsManyAsPublished) {
  const Model model = small_model();
  struct Expected {
    RulerTask task;
    std::size_t keys, needles, asked, references;
  };
  for (const Expected& expected : {Expected{RulerTask::kNiahSingle1, 1, 1, 1, 1},
                                   Expected{RulerTask::kNiahSingle2, 1, 1, 1, 1},
                                   Expected{RulerTask::kNiahSingle3, 1, 1, 1, 1},
                                   Expected{RulerTask::kNiahMultikey1, 4, 4, 1, 1},
                                   Expected{RulerTask::kNiahMultikey2, 1, 1, 1, 1},
                                   Expected{RulerTask::kNiahMultikey3, 1, 1, 1, 1},
                                   Expected{RulerTask::kNiahMultivalue, 1, 4, 1, 4},
                                   Expected{RulerTask::kNiahMultiquery, 4, 4, 4, 4}}) {
    SCOPED_TRACE(config::enum_name(expected.task));
    for (const Sample& sample :
         ruler_samples(bundled_ruler(expected.task, 1500), model.request(5))) {
      const auto keys = sample.metadata["keys"].get<std::set<std::string>>();
      EXPECT_EQ(keys.size(), expected.keys);
      EXPECT_EQ(sample.metadata["needles"].size(), expected.needles);
      EXPECT_EQ(sample.metadata["asked"].size(), expected.asked);
      EXPECT_EQ(sample.answers.size(), expected.references);
      const std::string context = context_of(sample);
      for (const std::string& reference : sample.answers) {
        EXPECT_EQ(count_of(context, " is: " + reference + "."), 1);
        EXPECT_EQ(count_of(sample.prompt_text, reference), 1);  // nowhere else
      }
      const auto asked = sample.metadata["asked"].get<std::vector<std::string>>();
      EXPECT_EQ(user_message(sample).find(asked[0], user_message(sample).rfind("\nWhat ")) !=
                    std::string::npos,
                true);
      const auto lines = count_of(context, "One of the special magic ");
      const bool lines_of_needles =
          expected.task == RulerTask::kNiahMultikey2 || expected.task == RulerTask::kNiahMultikey3;
      EXPECT_EQ(lines, lines_of_needles ? sample.metadata["units"].get<std::int64_t>() + 1
                                        : static_cast<std::int64_t>(expected.needles));
    }
  }
}

TEST(RulerNiah, DistractorsAreOtherKeysWithAsManyValues) {
  const Model model = small_model();
  for (const RulerTask task : {RulerTask::kNiahMultivalue, RulerTask::kNiahSingle1}) {
    RulerConfig config = bundled_ruler(task, 1500);
    config.distractors = 3;
    const std::size_t values = task == RulerTask::kNiahMultivalue ? 4 : 1;
    for (const Sample& sample : ruler_samples(config, model.request(5))) {
      const auto keys = sample.metadata["keys"].get<std::vector<std::string>>();
      EXPECT_EQ(std::set(keys.begin(), keys.end()).size(), 4U);
      EXPECT_EQ(keys.size(), 4 * values);
      ASSERT_EQ(sample.metadata["asked"].size(), 1U);
      const std::string asked = sample.metadata["asked"][0];
      EXPECT_EQ(sample.answers.size(), values);
      const std::string context = context_of(sample);
      for (const std::string& answer : sample.answers)
        EXPECT_EQ(count_of(context, fmt::format("for {} is: {}.", asked, answer)), 1);
      EXPECT_EQ(count_of(context, "One of the special magic numbers for "),
                static_cast<std::int64_t>(4 * values));
      EXPECT_EQ(sample.metadata["asked_needles"].size(), values);
      for (const std::size_t needle : sample.metadata["asked_needles"])
        EXPECT_EQ(keys[needle], asked);
    }
  }
  RulerConfig config = bundled_ruler(RulerTask::kNiahMultivalue, 1500);
  config.distractors = 10;
  EXPECT_EQ(ruler_error(config, model.request(5)),
            "benchmark.distractors: expected at most 9 (needles stand at 40 depths, a key has 4), "
            "got 10");
  config = bundled_ruler(RulerTask::kFwe, 1500);
  config.distractors = 1;
  EXPECT_EQ(ruler_error(config, model.request(5)),
            "benchmark.distractors: expected 0 (needles and chains have distractors, fwe has "
            "none), got 1");
}

TEST(RulerNiah, KeysAndValuesHaveThePublishedForms) {
  const Model model = small_model();
  const std::regex uuid("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");
  const std::regex number("[1-9][0-9]{6}");
  const std::regex words("[a-z]+-[a-z]+");
  for (const RulerTask task : kNiahTasks) {
    const RulerNiahTask shape = ruler_niah_task(task);
    for (const Sample& sample : ruler_samples(bundled_ruler(task, 900), model.request(4))) {
      for (const std::string& value : sample.answers)
        EXPECT_TRUE(std::regex_match(value, shape.value == RulerWord::kUuids ? uuid : number))
            << value;
      for (const std::string key : sample.metadata["keys"])
        EXPECT_TRUE(std::regex_match(key, shape.key == RulerWord::kUuids ? uuid : words)) << key;
    }
  }
}

TEST(RulerNiah, ANoisePromptReadsLineByLineAsInRuler) {
  const Model model = small_model();
  for (const Sample& sample :
       ruler_samples(bundled_ruler(RulerTask::kNiahSingle1, 700), model.request(5))) {
    const std::string key = sample.metadata["asked"][0];
    std::int64_t noise = 0;
    int needles = 0;
    for (const std::string& line : split_text(context_of(sample), '\n')) {
      if (line == kNoiseUnit)
        ++noise;
      else if (line == ruler_needle(RulerWord::kNumbers, key, sample.answers[0]))
        ++needles;
      else
        ADD_FAILURE() << line;
    }
    EXPECT_EQ(needles, 1);
    EXPECT_EQ(noise, sample.metadata["units"]);
    EXPECT_EQ(assistant_part(sample),
              ruler_niah_texts(RulerWord::kNumbers, key, true).answer_prefix + " ");
  }
}

// Taken out, the needles leave the text's sentences, each joined to the next by RULER's space.
TEST(RulerNiah, EssayNeedlesStandBetweenSentencesAtTheFortyDepths) {
  const Model model = small_model();
  for (const Sample& sample :
       ruler_samples(bundled_ruler(RulerTask::kNiahMultikey1, 2000), model.request(12))) {
    const std::string context = context_of(sample);
    std::vector<std::string> sentences;
    std::vector<std::size_t> before;
    std::string rest = context;
    for (std::size_t at; (at = rest.find("One of the special magic")) != std::string::npos;) {
      std::string part = rest.substr(0, at);
      for (std::string& sentence : split_sentences(part.substr(0, part.find_last_not_of(' ') + 1)))
        sentences.push_back(std::move(sentence));
      before.push_back(sentences.size());
      rest = rest.substr(rest.find(". ", at) == std::string::npos ? rest.size()
                                                                  : rest.find(". ", at) + 2);
    }
    for (std::string& sentence : split_sentences(rest)) sentences.push_back(std::move(sentence));
    ASSERT_EQ(before.size(), 4U);
    std::set<std::size_t> possible;
    for (int depth = 0; depth < 40; ++depth)
      possible.insert(static_cast<std::size_t>(static_cast<double>(sentences.size()) *
                                               (std::round(depth * 100.0 / 39) / 100)));
    for (const std::size_t place : before) EXPECT_TRUE(possible.contains(place)) << place;
  }
}

void expect_lengths(const Model& model, const std::vector<std::int64_t>& lengths,
                    std::int64_t longest_line) {
  for (const RulerTask task : kNiahTasks)
    for (const std::int64_t length : lengths) {
      SCOPED_TRACE(fmt::format("{} {}", config::enum_name(task), length));
      const RulerConfig config = bundled_ruler(task, length);
      const bool essay = ruler_niah_task(task).haystack == RulerHaystack::kEssay;
      for (const Sample& sample : ruler_samples(config, model.request(3))) {
        expect_within(model, config, sample, 128);
        // One unit more (a word, a line) would not have fit.
        EXPECT_LT(sample.metadata["shortfall"], essay ? 16 : longest_line);
      }
    }
}

TEST(RulerNiah, PromptPrefixAndGenerationFitTheLengthToAUnit) {
  expect_lengths(small_model(), {700, 1024, 1777, 4096}, 120);
}

TEST(RulerNiah, PromptPrefixAndGenerationFitTheLengthToAUnitWithSmolLm2) {
  SKIP_WITHOUT_SMOLLM2(model);
  expect_lengths(*model, {512, 1024, 4096, 16384}, 100);
}

TEST(RulerNiah, StoredSpansAreWhereTheNeedlesTokensAre) {
  const Model model = small_model();
  SampleRequest request = model.request(6);
  request.window = 300;
  for (const RulerTask task : kNiahTasks)
    for (const Sample& sample : ruler_samples(bundled_ruler(task, 1500), request)) {
      const auto& data = sample.metadata;
      const auto last = std::ssize(sample.prompt) - 1;
      std::int64_t nearest = last;
      std::vector<std::string> found;
      for (std::size_t n = 0; n < data["needles"].size(); ++n) {
        const auto span = data["needles"][n].get<std::array<std::int64_t, 2>>();
        const std::string text = model.tokenizer.decode(
            Tokens(sample.prompt.begin() + span[0], sample.prompt.begin() + span[1]));
        EXPECT_NE(text.find("One of the special magic"), std::string::npos) << text;
        EXPECT_EQ(text.back(), '.') << text;
        EXPECT_EQ(data["distances"][n], last - span[1]);
        found.push_back(text);
      }
      for (std::size_t i = 0; i < sample.answers.size(); ++i) {
        const std::size_t n = data["asked_needles"][i];
        EXPECT_NE(found[n].find(sample.answers[i]), std::string::npos);
        nearest = std::min(nearest, data["distances"][n].get<std::int64_t>());
      }
      EXPECT_EQ(data["first_informative_query"], last);
      EXPECT_EQ(data["distance"], nearest);
      EXPECT_EQ(data["beyond_window"], nearest >= 300);
    }
}

TEST(RulerNiah, EssaySamplesBeginAtSentencesOfTheirOwn) {
  const Model model = small_model();
  std::set<std::string> beginnings;
  for (const Sample& sample :
       ruler_samples(bundled_ruler(RulerTask::kNiahSingle2, 1000), model.request(20)))
    beginnings.insert(context_of(sample).substr(0, 80));
  EXPECT_EQ(beginnings.size(), 20U);
}

TEST(RulerNiah, SamplesFollowFromTheSeedWhateverTheirNumberOrThreadAndShareNothing) {
  const Model model = small_model();
  for (const RulerTask task : kNiahTasks) {
    SCOPED_TRACE(config::enum_name(task));
    expect_own_and_repeatable(model, bundled_ruler(task, 1200));
  }
}

TEST(RulerNiah, WhatIsTooShortIsRefusedWithTheSmallestLengthThatWorks) {
  const Model model = small_model();
  for (const RulerTask task : kNiahTasks) {
    SCOPED_TRACE(config::enum_name(task));
    expect_smallest_length(model, bundled_ruler(task, 50), 50);
  }
  const std::string error =
      ruler_error(bundled_ruler(RulerTask::kNiahSingle1, 50), model.request(5));
  EXPECT_TRUE(
      error.ends_with(fmt::format("hint: benchmark.length={} is enough", length_named_by(error))))
      << error;
}

TEST(RulerNiah, LmEvalStripsThePrefixAndKeepsTheAnswersTokensFree) {
  const Model model = small_model();
  RulerConfig config = bundled_ruler(RulerTask::kNiahMultiquery, 1200);
  config.variant = RulerVariant::kLmEval;
  for (const Sample& sample : ruler_samples(config, model.request(4))) {
    expect_within(model, config, sample, 128);
    EXPECT_TRUE(assistant_part(sample).starts_with("The special magic numbers for "));
    EXPECT_GE(sample.metadata["shortfall"], sample.answer.size());
  }
}

TEST(RulerNiah, OtherRequestsThatCannotBeMetAreRefusedWithFigures) {
  const Model model = small_model();
  RulerConfig config = bundled_ruler(RulerTask::kNiahSingle2, 1000);
  SampleRequest request = model.request(0);
  EXPECT_EQ(ruler_error(config, request),
            "RULER's niah_single_2 has no end: expected at least 1 sample, got 0");
  request.count = 1;
  request.max_positions = 999;
  EXPECT_EQ(ruler_error(config, request),
            "benchmark.length: expected at most 999 (the model's positions), got 1000");
  request.max_positions = 0;
  config.essays = TextSource::kEssay;
  EXPECT_EQ(ruler_error(config, request),
            "pg_essays: expected essays (*.txt), but STRATA_DATA is not set\n  hint: set "
            "STRATA_DATA to the folder that holds pg_essays/, or use benchmark.essays=bundled");
  config.words = KeyWordSource::kWonderwords;
  EXPECT_EQ(ruler_error(config, request),
            "wonderwords/adjectivelist.txt: expected a file here, found none\n  hint: set "
            "STRATA_DATA to the folder that holds wonderwords/, or use benchmark.words=bundled");
  config.words = KeyWordSource::kBundled;
  config.essays = TextSource::kBundled;
  request.count = 1'000'000;
  EXPECT_NE(ruler_error(config, request).find("split has keys for "), std::string::npos);
}

TEST(RulerNiah, ANeedleHaystackWithMoreLinesThanKeysIsRefused) {
  const Model model = small_model();
  const TempDir data;  // 50 keys in all splits
  data.write("wonderwords/adjectivelist.txt", "calm\nrare\nwild\nbrown\nquick\n");
  data.write("wonderwords/nounlist.txt",
             "otter\nhare\nfox\nmole\ncrane\nfinch\nheron\nstoat\nnewt\nswan\n");
  RulerConfig config = bundled_ruler(RulerTask::kNiahMultikey2, 4096);
  config.words = KeyWordSource::kWonderwords;
  SampleRequest request = model.request(1);
  request.data_dir = data.path();
  const std::string error = ruler_error(config, request);
  EXPECT_TRUE(error.starts_with("benchmark.words: a haystack of 4096 tokens needs ")) << error;
  EXPECT_NE(error.find(" different keys, got "), std::string::npos) << error;
}

TEST(RulerNiah, PublishedEssaysFillTheirLengthsAndShareNothing) {
  const char* data = std::getenv("STRATA_DATA");
  if (data == nullptr) GTEST_SKIP() << "no essays: set STRATA_DATA";
  const Model model = small_model();
  RulerConfig config = bundled_ruler(RulerTask::kNiahMultivalue, 4096);
  config.essays = TextSource::kEssay;
  config.words = KeyWordSource::kWonderwords;
  SampleRequest request = model.request(12);
  request.data_dir = data;
  const auto test = ruler_samples(config, request);
  std::set<std::string> beginnings;
  for (const Sample& sample : test) {
    expect_within(model, config, sample, 128);
    EXPECT_LT(sample.metadata["shortfall"], 32);
    beginnings.insert(context_of(sample).substr(0, 60));
  }
  EXPECT_GE(beginnings.size(), 11U);
  request.split = Split::kCalibration;
  const Status disjoint = check_disjoint(ruler_samples(config, request), test);
  EXPECT_TRUE(disjoint.has_value()) << disjoint.error().text();
}

}  // namespace
}  // namespace strata
