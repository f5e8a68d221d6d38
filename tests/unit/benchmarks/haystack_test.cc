#include <gtest/gtest.h>

#include <map>
#include <set>
#include <unordered_map>

#include "benchmarks/bundled_text.h"
#include "benchmarks/essays.h"
#include "benchmarks/needles.h"
#include "benchmarks/niah.h"
#include "benchmarks/word_lists.h"
#include "fixture.h"

namespace strata {
namespace {

constexpr Split kSplits[] = {Split::kCalibration, Split::kDevelopment, Split::kTest};

TEST(BundledText, NounsBelongToOneTopicAndSplitsShareNeitherTopicsNorPeople) {
  std::map<std::string, std::string> topic_of;
  std::set<std::string> people;
  std::size_t topics = 0;
  std::size_t person_count = 0;
  for (const Split split : kSplits) {
    const BundledLibrary library(split);
    topics += library.topics().size();
    for (const auto& topic : library.topics())
      for (const std::string slot : {"agent", "thing", "place", "mass"})
        for (const std::string& word : topic.words.at(slot))
          EXPECT_TRUE(topic_of.emplace(word, topic.name).second)
              << word << " is in " << topic_of[word] << " too";
    people.insert(library.people().begin(), library.people().end());
    person_count += library.people().size();
  }
  EXPECT_GE(topics, 40U);
  EXPECT_EQ(people.size(), person_count);
}

TEST(BundledText, SentencesAreEnglishInForm) {
  const BundledLibrary library(Split::kTest);
  BundledText text(library, Rng(7, "test"));
  std::set<std::string> seen;
  for (int i = 0; i < 5000; ++i) {
    const std::string sentence = text.next_sentence();
    EXPECT_TRUE(sentence.ends_with(".")) << sentence;
    EXPECT_TRUE(std::isupper(static_cast<unsigned char>(sentence[0]))) << sentence;
    EXPECT_EQ(sentence.find_first_of("{}|\n"), std::string::npos) << sentence;
    EXPECT_EQ((" " + sentence).find(" a a"), std::string::npos) << sentence;
    EXPECT_EQ((" " + sentence).find(" a o"), std::string::npos) << sentence;
    EXPECT_EQ(sentence.find("mans "), std::string::npos) << sentence;
    seen.insert(sentence);
  }
  EXPECT_GT(seen.size(), 4900U);
}

// Each split's text, 13 tokens at a time, against the others'.
void expect_no_shared_spans(const Tokenizer& tokenizer, int sentences) {
  std::unordered_map<std::uint64_t, int> owner;
  for (int split = 0; split < 3; ++split) {
    const BundledLibrary library(kSplits[split]);
    BundledText text(library, Rng(static_cast<std::uint64_t>(split), "spans"));
    Tokens tokens;
    for (int i = 0; i < sentences; ++i) {
      const Tokens more = tokenizer.encode_plain(" " + text.next_sentence());
      tokens.insert(tokens.end(), more.begin(), more.end());
    }
    for (std::size_t i = 0; i + kSpanTokens <= tokens.size(); ++i) {
      const auto [place, fresh] = owner.try_emplace(span_hash(tokens.data() + i), split);
      ASSERT_EQ(place->second, split)
          << tokenizer.decode(std::span(tokens).subspan(i, kSpanTokens));
    }
  }
}

TEST(BundledText, SplitsShareNoThirteenTokens) {
  expect_no_shared_spans(small_model().tokenizer, 15'000);
}

TEST(BundledText, SplitsShareNoThirteenTokensOfSmolLm2) {
  SKIP_WITHOUT_SMOLLM2(model);
  expect_no_shared_spans(model->tokenizer, 30'000);
}

TEST(NeedlePool, KeysAndValuesOfSplitsAreDisjointAndNumerous) {
  const KeyWords words = bundled_key_words();
  EXPECT_GE(words.adjectives.size(), 150U);
  EXPECT_GE(words.nouns.size(), 250U);
  std::map<std::string, int> owner;
  for (int split = 0; split < 3; ++split) {
    const NeedlePool pool(words, kSplits[split]);
    EXPECT_GT(pool.key_count(), 10'000U);
    Rng rng(3, "pool");
    std::set<std::string, std::less<>> used;
    for (int i = 0; i < 3000; ++i) {
      const Needle needle = pool.draw(rng, used);
      EXPECT_EQ(needle.value.size(), 7U);
      EXPECT_NE(needle.value[0], '0');
      for (const std::string& word : {needle.key, needle.value}) {
        EXPECT_EQ(owner.emplace(word, split).first->second, split) << word;
      }
    }
    EXPECT_EQ(used.size(), 6000U);
  }
}

TEST(Needles, AreFoundInATextWhereComplete) {
  const Needle one{"calm-otter", "1234567"};
  const Needle two{"ad hoc-contact lens", "7654321"};
  const std::string cut = "One of the special magic numbers for wet-owl is: 123";
  EXPECT_EQ(find_needles("x " + needle_sentence(one) + needle_sentence(two) + " " + cut),
            (std::vector<Needle>{one, two}));
  EXPECT_TRUE(find_needles("").empty());
}

TEST(Splits, HashSharesAreFortyTwentyForty) {
  std::map<Split, int> words;
  std::map<Split, int> values;
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    ++words[split_of(std::to_string(i))];
    ++values[split_of_value(1'000'000 + 7 * i)];
  }
  for (auto* count : {&words, &values}) {
    EXPECT_NEAR((*count)[Split::kCalibration], 4000, 200);
    EXPECT_NEAR((*count)[Split::kDevelopment], 2000, 200);
    EXPECT_NEAR((*count)[Split::kTest], 4000, 200);
  }
}

TEST(Essays, SentencesEndWhereAReaderWouldEndThem) {
  EXPECT_EQ(
      split_sentences(
          "Mr. Smith paid $3.50. \"Why?\" he said. (It was late.) J. Doe left! Then e.g. nothing"),
      (std::vector<std::string>{"Mr. Smith paid $3.50.", "\"Why?\" he said.", "(It was late.)",
                                "J. Doe left!", "Then e.g. nothing"}));
  EXPECT_TRUE(split_sentences("").empty());
  EXPECT_EQ(split_sentences("No end"), std::vector<std::string>{"No end"});
}

class EssayFolder : public testing::Test {
 protected:
  static constexpr const char* kThanks =
      "Thanks to the patient people of the harbor who read every early draft of this and said what "
      "they thought.";
  EssayFolder() {
    const BundledLibrary library(Split::kTest);
    BundledText source(library, Rng(1, "essay words"));
    std::vector<std::string> words;
    for (int i = 0; i < 500; ++i)
      for (std::string word : split_words(source.next_sentence()))
        if (!word.ends_with('.')) words.push_back(std::move(word));
    Rng rng(2, "essays");  // words in no order: nothing repeats but the thanks
    for (int file = 0; file < 12; ++file) {
      std::string text;
      for (int i = 0; i < 60; ++i) {
        text += "The";
        for (int word = 0; word < 12; ++word) text += " " + words[rng.below(words.size())];
        text += ".\n ";
      }
      directory_.write(fmt::format("pg_essays/e{:02}.txt", file), text + kThanks + "\n");
    }
    directory_.write("pg_essays/LICENSE.txt", "Permission is hereby granted.");
  }
  SampleRequest request(std::int64_t count, Split split = Split::kTest) const {
    SampleRequest out = model_.request(count, 1, split);
    out.data_dir = directory_.path();
    return out;
  }
  const TempDir directory_;
  const Model model_ = small_model();
};

TEST_F(EssayFolder, WhatFilesShareIsRemovedFromAllSplitsAndCounted) {
  const auto files = read_essays(directory_.path());
  ASSERT_TRUE(files.has_value()) << files.error().text();
  ASSERT_EQ(files->size(), 12U);  // the licence is not an essay
  std::map<std::size_t, Split> split_of_file;
  for (const Split split : kSplits) {
    const auto essays = prepare_essays(*files, model_.tokenizer, split, 400);
    ASSERT_TRUE(essays.has_value()) << essays.error().text();
    EXPECT_EQ(essays->removed_sentences, 12);
    for (const EssaySentence& sentence : essays->sentences) {
      EXPECT_EQ(sentence.text.find("Thanks"), std::string::npos);
      EXPECT_EQ(split_of_file.emplace(sentence.file, split).first->second, split);
    }
  }
  EXPECT_EQ(split_of_file.size(), 12U);
}

TEST_F(EssayFolder, ReadingTheSameStretchMakesACluster) {
  const NiahConfig config{.haystack = NiahHaystack::kEssay, .length = 700};
  const auto samples = make_niah(config)->samples(request(40));
  ASSERT_TRUE(samples.has_value()) << samples.error().text();
  std::map<std::string, std::set<std::size_t>> starts;
  for (const Sample& sample : *samples) {
    EXPECT_EQ(sample.prompt_text.find("Thanks"), std::string::npos);
    EXPECT_EQ(sample.metadata["shortfall"], 0);
    starts[sample.cluster].insert(sample.metadata["source"]["sentence"].get<std::size_t>());
  }
  EXPECT_GT(starts.size(), 1U);
  for (const auto& [cluster, of_cluster] : starts) EXPECT_EQ(of_cluster.size(), 1U) << cluster;
}

TEST_F(EssayFolder, AFileThatIsNotUtf8IsNamed) {
  const auto path = directory_.write("pg_essays/bad.txt", "caf\xe9");
  EXPECT_EQ(read_essays(directory_.path()).error().text(),
            path.string() + ": expected UTF-8, byte 3 is not");
}

TEST(Essays, AMissingOrEmptyFolderSaysWhatToDo) {
  const TempDir directory;
  const auto folder = directory.path() / "pg_essays";
  const std::string hint =
      "\n  hint: set STRATA_DATA to the folder that holds pg_essays/, or use "
      "benchmark.haystack=bundled";
  EXPECT_EQ(
      read_essays(directory.path()).error().text(),
      folder.string() +
          ": expected essays (*.txt), but the folder cannot be read: No such file or directory" +
          hint);
  std::filesystem::create_directory(folder);
  EXPECT_EQ(read_essays(directory.path()).error().text(),
            folder.string() + ": expected essays (*.txt), found none" + hint);
}

TEST(WordLists, WonderwordsAreReadAlsoOfTwoWords) {
  const TempDir directory;
  directory.write("wonderwords/adjectivelist.txt", "wet\nad hoc \n\nwet\n");
  directory.write("wonderwords/nounlist.txt", "contact lens\nowl\n");
  const KeyWords words = wonder_key_words(directory.path()).value();
  EXPECT_EQ(words.adjectives, (std::vector<std::string>{"ad hoc", "wet"}));
  EXPECT_EQ(words.nouns, (std::vector<std::string>{"contact lens", "owl"}));
}

TEST(Utf8, TheFirstBadByteIsFound) {
  const std::vector<std::pair<std::string, std::size_t>> cases = {
      {"", std::string::npos},
      {"abc", std::string::npos},
      {"\u00e9\u6771\U0001F600", std::string::npos},
      {"a\x80", 1},
      {"\xc3", 0},
      {"\xc0\xaf", 0},
      {"\xed\xa0\x80", 0},
      {"\xf4\x90\x80\x80", 0},
      {"\xe0\x80\x80", 0},
      {"ok\xf0\x9f\x98", 2},
      {"\xf5\x80\x80\x80", 0}};
  for (const auto& [text, at] : cases) EXPECT_EQ(find_invalid_utf8(text), at);
}

}  // namespace
}  // namespace strata
