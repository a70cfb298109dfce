#include "quant/baton.h"

namespace quaver {

Baton::Baton(std::function<void(const Park&)> body) : body_(std::move(body)) {
  thread_ = std::thread([this] { run(); });
}

Baton::~Baton() {
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    if (state_ == State::parked) state_ = State::running;
  }
  changed_.notify_all();
  thread_.join();
}

bool Baton::resume() {
  std::unique_lock lock(mutex_);
  if (state_ == State::done) return false;
  state_ = State::running;
  changed_.notify_all();
  changed_.wait(lock, [this] { return state_ != State::running; });
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  return state_ == State::parked;
}

void Baton::park() {
  std::unique_lock lock(mutex_);
  state_ = State::parked;
  changed_.notify_all();
  changed_.wait(lock, [this] { return state_ == State::running; });
  if (cancelled_) throw Cancelled{};
}

void Baton::run() {
  std::exception_ptr error;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return state_ == State::running; });
    if (cancelled_) {
      state_ = State::done;
      return;
    }
  }
  try {
    body_([this] { park(); });
  } catch (const Cancelled&) {
  } catch (...) {
    error = std::current_exception();
  }
  {
    const std::lock_guard lock(mutex_);
    error_ = error;
    state_ = State::done;
  }
  changed_.notify_all();
}

}  // namespace quaver
