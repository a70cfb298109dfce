#pragma once
// A function on a thread of its own that runs only while its owner waits for it.
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace quaver {

class Baton {
 public:
  // `body` gets the function that parks it: it returns when the owner resumes.
  using Park = std::function<void()>;
  explicit Baton(std::function<void(const Park&)> body);
  // A parked body is unwound by an exception out of its park().
  ~Baton();
  Baton(const Baton&) = delete;
  Baton& operator=(const Baton&) = delete;

  // Runs the body until it parks (true) or ends (false). Throws what the body threw.
  bool resume();

 private:
  struct Cancelled {};
  enum class State { parked, running, done };
  void park();
  void run();

  std::function<void(const Park&)> body_;
  std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::parked;
  bool cancelled_ = false;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace quaver
