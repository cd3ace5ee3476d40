// SPDX-License-Identifier: Apache-2.0

#ifndef FLOCKER_MESSAGES_HPP
#define FLOCKER_MESSAGES_HPP

#include <set>
#include <string>

#include <mesos/mesos.hpp>

#include <mesos/slave/containerizer.hpp>

#include <stout/foreach.hpp>
#include <stout/strings.hpp>

namespace flocker {

inline bool mayNameVolume(const mesos::Environment::Variable& variable)
{
  return variable.type() == mesos::Environment::Variable::VALUE &&
         (strings::startsWith(variable.name(), "FLOCKER_") || strings::startsWith(variable.name(), "DVDI_"));
}


// Only `command_info` counts: it is the task's own for command tasks, tasks of a group and standalone containers alike,
// while `executor_info` of a nested container is its parent's. A DEBUG container lives in the mounts of its parent.
inline bool mayUseVolumes(const mesos::slave::ContainerConfig& config)
{
  if (config.container_class() == mesos::slave::DEBUG) {
    return false;
  }

  foreach (const mesos::Environment::Variable& variable, config.command_info().environment().variables()) {
    if (mayNameVolume(variable)) {
      return true;
    }
  }

  return false;
}


// What the daemon needs and no more: commands, URIs, other variables and secrets stay in the agent.
inline mesos::slave::ContainerConfig reduced(const mesos::slave::ContainerConfig& config)
{
  mesos::slave::ContainerConfig result;

  result.set_directory(config.directory());
  if (config.has_container_class()) {
    result.set_container_class(config.container_class());
  }
  if (config.has_user()) {
    result.set_user(config.user());
  }
  if (config.has_rootfs()) {
    result.set_rootfs(config.rootfs());
  }

  foreach (const mesos::Environment::Variable& variable, config.command_info().environment().variables()) {
    if (mayNameVolume(variable)) {
      mesos::Environment::Variable* kept = result.mutable_command_info()->mutable_environment()->add_variables();
      kept->set_name(variable.name());
      kept->set_type(variable.type());
      kept->set_value(variable.value());
    }
  }

  if (config.has_executor_info()) {
    mesos::ExecutorInfo* executor = result.mutable_executor_info();
    executor->mutable_executor_id()->CopyFrom(config.executor_info().executor_id());
    if (config.executor_info().has_framework_id()) {
      executor->mutable_framework_id()->CopyFrom(config.executor_info().framework_id());
    }
  }

  if (config.has_task_info()) {
    result.mutable_task_info()->mutable_task_id()->CopyFrom(config.task_info().task_id());
    result.mutable_task_info()->set_name(config.task_info().name());
  }

  std::set<std::string> roles;
  foreach (const mesos::Resource& resource, config.resources()) {
    if (resource.allocation_info().has_role() && roles.insert(resource.allocation_info().role()).second) {
      result.add_resources()->mutable_allocation_info()->set_role(resource.allocation_info().role());
    }
  }

  return result;
}

} // namespace flocker {

#endif // FLOCKER_MESSAGES_HPP
