# nomad volume create nomad-volume.hcl
id           = "webapp"
name         = "webapp"
type         = "csi"
plugin_id    = "flocker"
capacity_min = "10GiB"
capacity_max = "10GiB"

capability {
  access_mode     = "single-node-writer"
  attachment_mode = "file-system"
}

parameters {
  profile = "gold"
}
