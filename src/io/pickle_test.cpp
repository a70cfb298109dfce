#include "io/pickle.h"

#include "io/temporary_directory_test.h"
#include "io/zip_archive_test.h"

namespace quaver {
namespace {

using namespace std::string_literals;

constexpr PickleGlobal allowed[] = {{"torch make", true}, {"torch word", false}};
const std::string begin = "\x80\x02";

Pickle parse(const std::string& bytes) {
  return parse_pickle(std::as_bytes(std::span(bytes)), allowed, "test.pkl");
}
// `body` stands between the protocol and the end.
Error refusal(const std::string& body) {
  return error_of([&] { parse(begin + body + "."); });
}
void expect_refusal(const std::string& body, const std::string& part,
                    Fault fault = Fault::bad_file) {
  const Error e = refusal(body);
  EXPECT_TRUE(std::string(e.what()).starts_with("test.pkl: pickle, byte ")) << e.what();
  expect_error(fault, part, [&] { throw Error(e); });
}

PickleValue root_of(const std::string& body) {
  const std::string bytes = begin + body + ".";
  const Pickle pickle = parse(bytes);
  EXPECT_EQ(pickle.bytes, bytes.size());
  return pickle.values[pickle.root];
}

TEST(Pickle, Constants) {
  EXPECT_EQ(root_of("N").kind, PickleKind::none);
  EXPECT_EQ(root_of("\x88").number, 1);
  EXPECT_EQ(root_of("\x89").number, 0);
  EXPECT_EQ(root_of("\x89").kind, PickleKind::boolean);
  EXPECT_EQ(root_of("K\xff").number, 255);
  EXPECT_EQ(root_of("M\xff\xff").number, 65535);
  EXPECT_EQ(root_of("J\xfe\xff\xff\xff").number, -2);
  EXPECT_EQ(root_of("\x8a\x00"s).number, 0);
  EXPECT_EQ(root_of("\x8a\x01\xff").number, -1);
  EXPECT_EQ(root_of("\x8a\x02\xff\x00"s).number, 255);
  EXPECT_EQ(root_of("\x8a\x05\x00\x00\x00\x00\x01"s).number, std::int64_t{1} << 32);
  EXPECT_EQ(root_of("\x8a\x08" + little(std::uint64_t{1} << 63, 8)).number, INT64_MIN);
  EXPECT_EQ(root_of("G\x3f\xf0\x00\x00\x00\x00\x00\x00"s).kind, PickleKind::real);
  for (const std::string& word : {"X\x02\x00\x00\x00hi"s, "U\x02hi"s}) {
    const std::string bytes = begin + word + ".";
    const Pickle pickle = parse(bytes);
    EXPECT_EQ(pickle.values[pickle.root].text, "hi");
  }
}

TEST(Pickle, Containers) {
  EXPECT_EQ(root_of(")").kind, PickleKind::tuple);
  EXPECT_EQ(root_of("(K\1K\2K\3K\4t").items.size(), 4u);
  EXPECT_EQ(root_of("K\1\x85").items.size(), 1u);
  EXPECT_EQ(root_of("K\1K\2\x86").items.size(), 2u);
  EXPECT_EQ(root_of("K\1K\2K\3\x87").items.size(), 3u);
  EXPECT_EQ(root_of("](NNe").items.size(), 2u);
  EXPECT_EQ(root_of("]Na").kind, PickleKind::list);
  EXPECT_EQ(root_of("}K\1Ns").items.size(), 2u);
  EXPECT_EQ(root_of("}(K\1NK\2Nu").items.size(), 4u);
  EXPECT_EQ(root_of("](e").items.size(), 0u);
}

TEST(Pickle, MemoSharesValues) {
  const Pickle pickle =
      parse(begin + "]q\x05h\x05h\x05\x86r\x07\x00\x00\x00j\x07\x00\x00\x00\x87."s);
  const auto& items = pickle.values[pickle.root].items;
  ASSERT_EQ(items.size(), 3u);
  EXPECT_EQ(items[1], items[2]);
  EXPECT_EQ(pickle.values[items[1]].items, (std::vector<std::uint32_t>{items[0], items[0]}));
}

TEST(Pickle, CallsAreNotedNotMade) {
  const std::string bytes = begin + "ctorch\nmake\nK\7\x85R.";
  const Pickle pickle = parse(bytes);
  const PickleValue& call = pickle.values[pickle.root];
  EXPECT_EQ(call.kind, PickleKind::call);
  EXPECT_EQ(pickle.values[call.items[0]].text, "torch make");
  EXPECT_EQ(pickle.values[call.items[1]].items.size(), 1u);
  EXPECT_EQ(root_of("ctorch\nword\n").text, "torch word");
  EXPECT_EQ(parse(begin + "K\1Q.").persistent.size(), 1u);
}

TEST(Pickle, OrderedDictIsADict) {
  const std::string make = "ccollections\nOrderedDict\n";
  EXPECT_EQ(root_of(make + ")R").kind, PickleKind::dict);
  EXPECT_EQ(root_of(make + ")RK\1Ns").items.size(), 2u);
}

TEST(Pickle, OrderedDictOfPython2) {
  const std::string make = "ccollections\nOrderedDict\n";
  EXPECT_EQ(root_of(make + "](](K\1Ne](K\2Nee\x85R").items.size(), 4u);
  expect_refusal(make + "K\1\x85R", "expected a list of pairs");
  expect_refusal(make + "]Na\x85R", "not a pair");
  expect_refusal(make + "NN\x86R", "OrderedDict with 2 values");
}

TEST(Pickle, AttributesOfADictArePassedOver) {
  const PickleValue dict = root_of("}K\1Ns}X\x09\x00\x00\x00_metadataNsb"s);
  EXPECT_EQ(dict.items.size(), 2u);
  expect_refusal("]}b", "BUILD for a list, expected a dict");
}

TEST(Pickle, ExecutesNothing) {
  expect_refusal("cos\nsystem\nX\x02\x00\x00\x00ls\x85R"s, "the Python name 'os.system'",
                 Fault::unsupported);
  expect_refusal("cbuiltins\neval\n", "'builtins.eval'", Fault::unsupported);
  expect_refusal("ctorch make\n\n", "'torch make.'", Fault::unsupported);
  expect_refusal("ctorch\nword\n)R", "a call of 'torch word', which is not a function",
                 Fault::unsupported);
  expect_refusal("K\1)R", "a call of a whole number, expected a function");
  expect_refusal("ctorch\nmake\n]R", "the arguments of a call are a list");
  expect_refusal("ctorch\n" + std::string(1000, 'a'), "no line ends within 256 bytes");
  expect_refusal("cto\x1b[2Jrch\nmake\n", "'to\\x1b[2Jrch.make'", Fault::unsupported);
}

TEST(Pickle, EveryOtherOperationIsRefused) {
  const std::string known = "(.GJKMNQRUX]abcehjqrstu)}\x85\x86\x87\x88\x89\x8a";
  for (int opcode = 0; opcode < 256; ++opcode) {
    const std::string one(1, static_cast<char>(opcode));
    if (known.find(one) != std::string::npos) continue;
    SCOPED_TRACE(opcode);
    expect_refusal("NN" + one, "the operation '", Fault::unsupported);
  }
}

TEST(Pickle, RefusesOtherProtocols) {
  for (const char protocol : {'\0', '\1', '\3', '\4', '\5', '\xff'})
    expect_error(Fault::unsupported, "quaver reads protocol 2",
                 [&] { parse("\x80"s + protocol + "N."); });
  expect_error(Fault::bad_file, "a pickle of protocol 2 begins with", [&] { parse("N."); });
}

TEST(Pickle, RefusesAWrongStack) {
  expect_refusal("", "taken from an empty stack");
  expect_refusal("N\x86", "taken from an empty stack");
  expect_refusal("NN", "ends with more than one value");
  expect_refusal("(N", "ends with more than one value");
  expect_refusal("N(", "taken from an empty stack");
  expect_refusal("t", "a sequence ends that did not begin");
  expect_refusal("]N(a", "taken from an empty stack");
  expect_refusal("a", "taken from an empty stack");
  expect_refusal("(e", "APPENDS for an empty stack");
  expect_refusal("N(e", "APPENDS for a None, expected a list");
  expect_refusal("}(Nu", "a key that has no value");
  expect_refusal("](NNu", "SETITEMS for a list, expected a dict");
  expect_refusal("q\1", "nothing is there to remember");
  expect_refusal("h\1", "the memo holds nothing at 1");
  expect_refusal("Nq\5h\1", "the memo holds nothing at 1");
}

TEST(Pickle, RefusesHugeNumbers) {
  expect_refusal("Nr\xff\xff\xff\xff", "the memo has the index 4294967295; the limit is 9");
  expect_refusal("X\xff\xff\xff\xff", "4294967295 bytes are needed");
  expect_refusal("\x8a\x09" + std::string(9, 'x'), "a whole number of 9 bytes");
  expect_refusal("X\x02\x00\x00\x00\xff\xff"s, "not UTF-8");
}

// Depth costs no stack of ours, and sharing no memory: 2^1000 paths are 1000 values.
TEST(Pickle, DeepNestingAndMemoBombs) {
  EXPECT_EQ(root_of(")" + std::string(1'000'000, '\x85')).items.size(), 1u);
  EXPECT_EQ(root_of(std::string(100'000, '(') + "N" + std::string(100'000, 't')).items.size(), 1u);
  std::string doubling = ")";
  for (int i = 0; i < 1000; ++i) doubling += "q\1h\1\x86";
  EXPECT_EQ(root_of(doubling).items.size(), 2u);
  EXPECT_EQ(root_of("]q\1h\1a").items.size(), 1u);  // a list inside itself
}

TEST(Pickle, StopsAtItsLimits) {
  expect_refusal(std::string(max_pickle_steps + 1, '('), "more than 4000000 operations");
  // A list of pairs that every call would copy.
  std::string copies = "](";
  for (int i = 0; i < 3000; ++i) copies += i == 0 ? "NN\x86q\2" : "h\2";
  copies += "eq\1";
  for (int i = 0; i < 3000; ++i) copies += "ccollections\nOrderedDict\nh\1\x85R";
  expect_refusal(copies, "pairs in calls of OrderedDict");
}

TEST(Pickle, TruncatedAtEveryByte) {
  const std::string whole = begin +
                            "}q\0(X\x01\x00\x00\x00"
                            "actorch\nmake\n(J\x01\x02\x03\x04M\x01\x02\x8a\x01\x05\x88tRU\x01"
                            "bG\x00\x00\x00\x00\x00\x00\x00\x00uN\x86."s;
  EXPECT_NO_THROW(parse(whole));
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_THROW(parse(whole.substr(0, size)), Error) << size;
}

}  // namespace
}  // namespace quaver
