# Nomad wants a plugin to be a task of its own. The node agent runs outside of Nomad already, so the task only connects
# Nomad's socket with the agent's. /opt/nomad is the client's data_dir; the last directory is the plugin's id.
job "flocker-csi" {
  type = "system"
  group "node" {
    task "connect" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        # CSI_ENDPOINT is unix://PATH.
        args = ["-c", "exec socat \"UNIX-LISTEN:$${CSI_ENDPOINT#unix://},fork,unlink-early\" UNIX-CONNECT:/run/flocker/csi.sock"]
      }
      csi_plugin {
        id                     = "flocker"
        type                   = "monolith"
        stage_publish_base_dir = "/opt/nomad/client/csi/monolith/flocker"
      }
      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
