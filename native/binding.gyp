{
  "variables": {"sanitize%": ""},
  "target_defaults": {
    "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")", "."],
    "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_DISABLE_DEPRECATED"],
    "cflags!": ["-fno-exceptions"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
    "cflags_cc": ["-std=c++20", "-fexceptions", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers"],
    "conditions": [
      ["sanitize!=''", {"cflags_cc": ["-fsanitize=<(sanitize)", "-fno-omit-frame-pointer"], "ldflags": ["-fsanitize=<(sanitize)"]}]
    ]
  },
  "targets": [
    {
      # The file server as far as it needs no Node.
      "target_name": "files",
      "type": "static_library",
      "cflags": ["-fPIC"],
      "sources": [
        "common/open_backing.cc",
        "file-server/admission.cc",
        "file-server/attribute_ops.cc",
        "file-server/attributes.cc",
        "file-server/caller_ids.cc",
        "file-server/create_ops.cc",
        "file-server/credentials.cc",
        "file-server/data_ops.cc",
        "file-server/directory_ops.cc",
        "file-server/extent_index.cc",
        "file-server/file_handle.cc",
        "file-server/file_stat.cc",
        "file-server/filesystem.cc",
        "file-server/graft_place.cc",
        "file-server/graft_points.cc",
        "file-server/graft_table.cc",
        "file-server/graft_way.cc",
        "file-server/handles.cc",
        "file-server/identity.cc",
        "file-server/inode_numbers.cc",
        "file-server/inode_places.cc",
        "file-server/inode_table.cc",
        "file-server/interrupts.cc",
        "file-server/ioctl_ops.cc",
        "file-server/kept_directory.cc",
        "file-server/lock_ops.cc",
        "file-server/locks.cc",
        "file-server/lookup_ops.cc",
        "file-server/mount.cc",
        "file-server/namespace_ops.cc",
        "file-server/negotiate.cc",
        "file-server/notifier.cc",
        "file-server/opcodes.cc",
        "file-server/open_beneath.cc",
        "file-server/passthrough.cc",
        "file-server/quota.cc",
        "file-server/read_only_clones.cc",
        "file-server/request.cc",
        "file-server/session.cc",
        "file-server/session_ops.cc",
        "file-server/session_state.cc",
        "file-server/tree.cc",
        "file-server/tree_overlap.cc",
        "file-server/xattr_ops.cc",
      ]
    },
    {
      "target_name": "insitu",
      "dependencies": ["files"],
      "sources": [
        "addon.cc",
        "broker/peer_cred.cc",
        "broker/turn_away.cc",
        "common/async_pool.cc",
        "containers/binding.cc",
        "containers/run_helper.cc",
        "file-server/binding.cc",
        "file-server/caller_syscall.cc",
        "file-server/directory_key.cc",
        "file-server/dirty_pages.cc",
        "file-server/graft_binding.cc",
        "file-server/inputs.cc",
        "file-server/mount_writers.cc",
        "file-server/permission_bits.cc",
        "file-server/principal.cc",
        "file-server/program_table.cc",
        "file-server/result_files.cc",
        "file-server/result_seal.cc",
        "file-server/result_set.cc",
        "file-server/upcalls.cc",
        "file-server/validation.cc",
        "file-server/virtual_attributes.cc",
        "file-server/virtual_binding.cc",
        "file-server/virtual_handles.cc",
        "file-server/virtual_names.cc",
        "file-server/virtual_nodes.cc",
        "file-server/virtual_results.cc",
        "file-server/virtual_trees.cc",
        "file-server/volume.cc",
        "file-server/volume_binding.cc",
        "sandbox/binding.cc",
        "sandbox/channel.cc",
        "sandbox/process.cc",
        "service/notify.cc",
      ]
    },
    {
      "target_name": "worker",
      "sources": [
        "worker_addon.cc",
        "sandbox/seccomp.cc",
        "sandbox/worker_socket.cc"
      ]
    },
    {
      "target_name": "launcher",
      "type": "executable",
      "sources": ["sandbox/launcher.cc", "sandbox/seccomp.cc"]
    },
    {
      # Without a dynamic linker it begins at once.
      "target_name": "mount_attach",
      "type": "executable",
      "ldflags": ["-static"],
      "sources": ["containers/mount_attach.cc", "containers/enter.cc", "containers/renew.cc", "containers/tree.cc"]
    },
    {
      "target_name": "point_in_time",
      "type": "executable",
      "ldflags": ["-pthread"],
      "sources": ["common/open_backing.cc", "volumes/point_in_time.cc", "volumes/tree_copy.cc"]
    },
    {
      # Loaded into the guest's isolate by isolated-vm; speaks V8's own interface, so it is bound to
      # one Node release line. Without RTTI, as V8.
      "target_name": "guest",
      "cflags": ["-fno-rtti"],
      "cflags_cc": ["-Wno-unused-parameter", "-Wno-cast-function-type"],
      "sources": ["worker/guest_module.cc", "worker/text.cc", "worker/program.cc", "worker/clone.cc"]
    },
  ],
  "conditions": [
    [
      # What scripts/test-sanitized runs: the file server without Node, fed with frames from a test,
      # and what the sanitizer has to see.
      "sanitize!=''",
      {
        "targets": [
          {"target_name": "canary", "sources": ["../test/sanitizers/canary.cc"]},
          {
            "target_name": "frames",
            "type": "executable",
            "dependencies": ["files"],
            "ldflags": ["-pthread"],
            "sources": ["../test/file-server/frames/main.cc"]
          }
        ]
      }
    ]
  ]
}
