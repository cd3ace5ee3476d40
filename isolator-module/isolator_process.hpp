// SPDX-License-Identifier: Apache-2.0

#ifndef FLOCKER_ISOLATOR_PROCESS_HPP
#define FLOCKER_ISOLATOR_PROCESS_HPP

#include <sys/types.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <glog/logging.h>

#include <mesos/mesos.hpp>
#include <mesos/type_utils.hpp>

#include <mesos/slave/containerizer.hpp>

#include <process/clock.hpp>
#include <process/defer.hpp>
#include <process/delay.hpp>
#include <process/future.hpp>
#include <process/id.hpp>
#include <process/process.hpp>

#include <stout/duration.hpp>
#include <stout/foreach.hpp>
#include <stout/hashset.hpp>
#include <stout/json.hpp>
#include <stout/none.hpp>
#include <stout/nothing.hpp>
#include <stout/option.hpp>
#include <stout/protobuf.hpp>
#include <stout/try.hpp>

#include "daemon.hpp"
#include "living.hpp"
#include "messages.hpp"
#include "settings.hpp"

namespace flocker {

// The containerizer waits for each of these calls, some of them one after the other for all isolators.
constexpr Seconds CALL_BOUND = Seconds(5);

// One question of `watch`. The daemon holds it until there is something to say.
constexpr Seconds WATCH_BOUND = Seconds(60);

// Between two attempts to reach the daemon.
constexpr Seconds PAUSE = Seconds(5);


// The one thing remembered is which living containers may have volumes. It spares the others every call, so that a
// daemon that is down does not touch tasks without volumes. And it is what the daemon is told again (`recover`, with all
// that live) after a message to it was lost: a cleanup is never repeated by itself.
class FlockerIsolatorProcess : public process::Process<FlockerIsolatorProcess>
{
  using ContainerID = mesos::ContainerID;
  using ContainerConfig = mesos::slave::ContainerConfig;
  using ContainerLaunchInfo = mesos::slave::ContainerLaunchInfo;
  using ContainerLimitation = mesos::slave::ContainerLimitation;
  using ContainerState = mesos::slave::ContainerState;
  using ResourceStatistics = mesos::ResourceStatistics;

  template <typename T>
  using Future = process::Future<T>;

public:
  FlockerIsolatorProcess(const Daemon& _daemon, const Settings& _settings)
    : ProcessBase(process::ID::generate("flocker-isolator")),
      daemon(_daemon),
      settings(_settings),
      bound(std::min<Duration>(_settings.timeout, CALL_BOUND)) {}

  // Never fails: that would end the agent. `prepare` fails instead as long as the daemon cannot be told.
  Future<Nothing> recover(const std::vector<ContainerState>& states, const hashset<ContainerID>& orphans)
  {
    foreach (const ContainerState& state, states) {
      living.found(state);
    }

    foreach (const ContainerID& containerId, orphans) {
      living.foundOrphan(containerId);
    }

    return tellContainers()
      .recover([](const Future<Nothing>&) -> Future<Nothing> { return Nothing(); });
  }

  Future<Option<ContainerLaunchInfo>> prepare(const ContainerID& containerId, const ContainerConfig& config)
  {
    if (!mayUseVolumes(config)) {
      return None();
    }

    // Not while the daemon reads a list of the living that does not have this container yet.
    Future<Nothing> told = Nothing();
    if (untold) {
      told = tellContainers();
    } else if (telling.isSome()) {
      told = process::undiscardable(telling.get());
    }

    return told.then(process::defer(self(), [=](const Nothing&) { return _prepare(containerId, config); }));
  }

  Future<Nothing> isolate(const ContainerID& containerId, pid_t pid)
  {
    if (!living.has(containerId)) {
      return Nothing();
    }

    living.started(containerId, pid);

    JSON::Object question = about(containerId);
    question.values["pid"] = JSON::Number(static_cast<int64_t>(pid));

    return daemon.call("isolate", question, bound)
      .then([](const Answer&) { return Nothing(); });
  }

  // Stays pending unless the daemon reports a limitation: whatever completes it, a failure included, makes the
  // containerizer kill the container.
  Future<ContainerLimitation> watch(const ContainerID& containerId)
  {
    auto limitation = std::make_shared<process::Promise<ContainerLimitation>>();
    ask(containerId, limitation);
    return limitation->future();
  }

  // Statistics without the volumes are better than none of any isolator, or late ones.
  Future<ResourceStatistics> usage(const ContainerID& containerId)
  {
    if (!living.has(containerId)) {
      return ResourceStatistics();
    }

    return daemon.call("usage", about(containerId), bound)
      .then([](const Answer& answer) -> Future<ResourceStatistics> {
        JSON::Object statistics = answer.getOrElse(JSON::Object());
        if (statistics.values.count("timestamp") == 0) {
          statistics.values["timestamp"] = JSON::Number(process::Clock::now().secs());
        }
        return ::protobuf::parse<ResourceStatistics>(statistics);
      })
      .recover([containerId](const Future<ResourceStatistics>& usage) -> Future<ResourceStatistics> {
        VLOG(1) << "No usage of the volumes of container " << containerId << ": " << reason(usage);
        return ResourceStatistics();
      });
  }

  // Never fails: the containerizer would keep the container for ever. What the daemon did not hear, it learns from the
  // next `recover`.
  Future<Nothing> cleanup(const ContainerID& containerId)
  {
    if (!living.has(containerId)) {
      return Nothing();
    }

    living.ended(containerId);
    return sendCleanup(containerId);
  }

private:
  Future<Option<ContainerLaunchInfo>> _prepare(const ContainerID& containerId, const ContainerConfig& config)
  {
    living.preparing(containerId, config.directory());

    JSON::Object question = about(containerId);
    question.values["container_config"] = JSON::protobuf(reduced(config));
    question.values["sandbox_directory"] = JSON::String(settings.sandboxDirectory);
    question.values["timeout_ms"] = JSON::Number(static_cast<int64_t>(settings.timeout.ms()));

    return daemon.call("prepare", question, settings.timeout)
      .then([](const Answer& answer) -> Future<Option<ContainerLaunchInfo>> {
        if (answer.isNone() || answer->values.empty()) {
          return None();
        }

        const Try<ContainerLaunchInfo> launchInfo = ::protobuf::parse<ContainerLaunchInfo>(answer.get());
        if (launchInfo.isError()) {
          return process::Failure(
              "flocker-agent answered 'prepare' with no ContainerLaunchInfo: " + launchInfo.error());
        }
        return Some(launchInfo.get());
      })
      .onAny(process::defer(self(), [=](const Future<Option<ContainerLaunchInfo>>& launchInfo) {
        // The daemon may have acquired the volumes after nobody waited any more.
        if (!launchInfo.isReady()) {
          sendCleanup(containerId);
        }
      }));
  }

  Future<Nothing> sendCleanup(const ContainerID& containerId)
  {
    return daemon.call("cleanup", about(containerId), bound)
      .then([](const Answer&) -> Future<Nothing> { return Nothing(); })
      .recover(process::defer(self(), [=](const Future<Nothing>& cleanup) -> Future<Nothing> {
        LOG(WARNING) << "Volumes of container " << containerId << " may not be released yet: " << reason(cleanup);
        tellLater();
        return Nothing();
      }));
  }

  void ask(const ContainerID& containerId, const std::shared_ptr<process::Promise<ContainerLimitation>>& limitation)
  {
    if (!living.has(containerId)) {
      return;
    }

    daemon.call("watch", about(containerId), WATCH_BOUND)
      .onAny(process::defer(self(), [=](const Future<Answer>& answer) {
        if (answer.isReady() && answer->isNone()) {
          return;
        }

        if (answer.isReady() && !answer->get().values.empty()) {
          const Try<ContainerLimitation> parsed = ::protobuf::parse<ContainerLimitation>(answer->get());
          if (parsed.isSome()) {
            limitation->set(parsed.get());
            return;
          }
          LOG(WARNING) << "Ignoring flocker-agent's limitation of container " << containerId << ": " << parsed.error();
        }

        process::delay(PAUSE, self(), &FlockerIsolatorProcess::ask, containerId, limitation);
      }));
  }

  // Tells the daemon which containers live. It releases the volumes of all others, and answers which of these have any.
  Future<Nothing> tellContainers()
  {
    if (telling.isNone()) {
      untold = false;
      telling = daemon.call("recover", living.listed(), bound)
        .then(process::defer(self(), [=](const Answer& answer) -> Future<Nothing> {
          if (answer.isSome()) {
            living.keepNamed(answer.get());
          }
          return Nothing();
        }));

      telling->onAny(process::defer(self(), [=](const Future<Nothing>& told) {
        telling = None();
        if (!told.isReady()) {
          LOG(WARNING) << "flocker-agent does not know yet which containers live: " << reason(told);
        }
        if (untold || !told.isReady()) {
          tellLater();
        }
      }));
    }

    return process::undiscardable(telling.get());
  }

  void tellLater()
  {
    untold = true;
    if (!waiting) {
      waiting = true;
      process::delay(PAUSE, self(), &FlockerIsolatorProcess::tellAgain);
    }
  }

  void tellAgain()
  {
    waiting = false;
    if (untold) {
      tellContainers();
    }
  }

  template <typename T>
  static std::string reason(const Future<T>& future)
  {
    return future.isFailed() ? future.failure() : "discarded";
  }

  const Daemon daemon;
  const Settings settings;
  const Duration bound;

  Living living;

  // A `recover` that is under way; whether one is due; whether a timer for it runs.
  Option<Future<Nothing>> telling;
  bool untold = false;
  bool waiting = false;
};

} // namespace flocker {

#endif // FLOCKER_ISOLATOR_PROCESS_HPP
