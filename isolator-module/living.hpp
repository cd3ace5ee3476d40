// SPDX-License-Identifier: Apache-2.0

#ifndef FLOCKER_LIVING_HPP
#define FLOCKER_LIVING_HPP

#include <sys/types.h>

#include <string>

#include <glog/logging.h>

#include <mesos/mesos.hpp>
#include <mesos/type_utils.hpp>

#include <mesos/slave/containerizer.hpp>

#include <stout/foreach.hpp>
#include <stout/hashmap.hpp>
#include <stout/hashset.hpp>
#include <stout/json.hpp>
#include <stout/option.hpp>
#include <stout/protobuf.hpp>
#include <stout/result.hpp>
#include <stout/try.hpp>

namespace flocker {

inline JSON::Object about(const mesos::ContainerID& containerId)
{
  JSON::Object object;
  object.values["container_id"] = JSON::protobuf(containerId);
  return object;
}


// The living containers that may have volumes: those that `prepare` was forwarded for, and after a restart of the agent
// all that it found, until the daemon has said which of them have volumes.
class Living
{
public:
  void found(const mesos::slave::ContainerState& state)
  {
    Container& container = containers[state.container_id()];
    container.directory = state.directory();
    container.pid = state.pid();
  }

  void foundOrphan(const mesos::ContainerID& containerId)
  {
    containers[containerId].orphan = true;
  }

  void preparing(const mesos::ContainerID& containerId, const std::string& directory)
  {
    Container& container = containers[containerId];
    container.directory = directory;
    container.prepared = true;
  }

  void started(const mesos::ContainerID& containerId, pid_t pid)
  {
    containers[containerId].pid = static_cast<uint64_t>(pid);
  }

  void ended(const mesos::ContainerID& containerId)
  {
    containers.erase(containerId);
  }

  bool has(const mesos::ContainerID& containerId) const
  {
    return containers.contains(containerId);
  }

  // The question of `recover`.
  JSON::Object listed() const
  {
    JSON::Array states;
    JSON::Array orphans;

    foreachpair (const mesos::ContainerID& containerId, const Container& container, containers) {
      if (container.orphan) {
        orphans.values.push_back(JSON::protobuf(containerId));
        continue;
      }

      JSON::Object state = about(containerId);
      if (container.directory.isSome()) {
        state.values["directory"] = JSON::String(container.directory.get());
      }
      if (container.pid.isSome()) {
        state.values["pid"] = JSON::Number(container.pid.get());
      }
      states.values.push_back(state);
    }

    JSON::Object question;
    question.values["states"] = states;
    question.values["orphans"] = orphans;
    return question;
  }

  // Takes the answer of `recover`: forgets the found containers that it does not name. One that was prepared since is
  // kept, as its volumes may be on the way.
  void keepNamed(const JSON::Object& answer)
  {
    const Result<JSON::Array> named = answer.at<JSON::Array>("containers");
    if (!named.isSome()) {
      return;
    }

    hashset<mesos::ContainerID> withVolumes;
    foreach (const JSON::Value& value, named->values) {
      const Try<mesos::ContainerID> containerId = ::protobuf::parse<mesos::ContainerID>(value);
      if (containerId.isError()) {
        LOG(WARNING) << "flocker-agent's answer to 'recover' names a wrong container id: " << containerId.error();
        return;
      }
      withVolumes.insert(containerId.get());
    }

    foreach (const mesos::ContainerID& containerId, containers.keys()) {
      if (!containers.at(containerId).prepared && !withVolumes.contains(containerId)) {
        containers.erase(containerId);
      }
    }
  }

private:
  struct Container
  {
    Option<std::string> directory;
    Option<uint64_t> pid;
    bool orphan = false;
    bool prepared = false;
  };

  hashmap<mesos::ContainerID, Container> containers;
};

} // namespace flocker {

#endif // FLOCKER_LIVING_HPP
