// Rights: what one user may do to another's files. Runs as root only.
#include "table.h"

#include <stdio.h>
#include <string.h>

constexpr uid_t kAnn = 3001, kBob = 3002;
constexpr gid_t kTeam = 3100;

CASE("users: ownership of what is created") {
  chmod(".", 0777);
  as_user(kAnn, kAnn, [] {
    close(open("f", O_CREAT | O_WRONLY, 0644));
    mkdir("d", 0755);
    symlink("f", "s");
    mkfifo("p", 0600);
    const int fd = open(".", O_TMPFILE | O_RDWR, 0600);
    look_fd("tmpfile", fd);
  });
  for (const char* name : {"f", "d", "s", "p"}) look(name);
}
CASE("users: reading, writing, searching by mode") {
  chmod(".", 0777);
  spit("open", "o", 0644);
  spit("shut", "s", 0600);
  mkdir("dir", 0755);
  mkdir("closed", 0700);
  mkdir("listonly", 0744);
  mkdir("passonly", 0711);
  spit("closed/f", "x");
  spit("listonly/f", "x");
  spit("passonly/f", "x");
  as_user(kAnn, kAnn, [] {
    content("open");
    content("shut");
    opened("write", open("open", O_WRONLY));
    opened("create in dir", open("dir/x", O_CREAT | O_WRONLY, 0644));
    content("closed/f");
    did("stat listonly", access("listonly/f", F_OK));
    content("passonly/f");
    names("passonly");
    did("unlink", unlink("passonly/f"));
    did("chmod", chmod("open", 0666));
    did("chown", chown("open", kAnn, kAnn));
    did("truncate", truncate("open", 0));
    did("access rwx", access("open", R_OK | W_OK));
    did("utimes now", utimensat(AT_FDCWD, "open", nullptr, 0));
    did("setxattr", setxattr("open", "user.x", "1", 1, 0));
  });
}
CASE("users: groups, also supplementary ones") {
  chmod(".", 0777);
  spit("f", "team", 0660);
  chmod("f", 0660);
  chown("f", 0, kTeam);
  as_user(kAnn, kTeam, [] { content("f"); });
  as_user(kAnn, kAnn, [] { content("f"); opened("write", open("f", O_WRONLY)); }, {kTeam});
  as_user(kBob, kBob, [] { content("f"); });
}
CASE("users: setgid directories hand down their group") {
  mkdir("d", 0777);
  chown("d", 0, kTeam);
  chmod("d", 02777);
  as_user(kAnn, kAnn, [] {
    close(open("d/f", O_CREAT | O_WRONLY, 0664));
    mkdir("d/sub", 0755);
    symlink("x", "d/s");
    close(open("d/g", O_CREAT | O_WRONLY, 02775));
  });
  for (const char* name : {"d/f", "d/sub", "d/s", "d/g"}) look(name);
  as_user(kAnn, kAnn, [] { close(open("d/h", O_CREAT | O_WRONLY, 02775)); }, {kTeam});
  look("d/h");
}
CASE("users: creating with a supplementary group as the directory's") {
  mkdir("d", 0770);
  chown("d", 0, kTeam);
  chmod("d", 0770);
  as_user(kAnn, kAnn, [] { opened("create", open("d/f", O_CREAT | O_WRONLY, 0644)); }, {kTeam});
  as_user(kBob, kBob, [] { opened("create", open("d/g", O_CREAT | O_WRONLY, 0644)); });
  look("d/f");
}
CASE("users: sticky directories") {
  mkdir("t", 0777);
  chmod("t", 01777);
  as_user(kAnn, kAnn, [] { spit("t/ann", "a", 0666); mkdir("t/dir", 0777); });
  as_user(kBob, kBob, [] {
    spit("t/bob", "b", 0644);
    did("unlink", unlink("t/ann"));
    did("rename away", rename("t/ann", "t/x"));
    did("rename over", rename("t/bob", "t/ann"));
    did("rmdir", rmdir("t/dir"));
    did("own", unlink("t/bob"));
  });
  as_user(kAnn, kAnn, [] { did("own", unlink("t/ann")); });
}
CASE("users: a write by another clears setuid and setgid") {
  chmod(".", 0777);
  for (const mode_t mode : {04777u, 02777u, 06777u, 02767u}) {
    unlink("f");
    spit("f", "x");
    chmod("f", mode);
    look("f");
    as_user(kAnn, kAnn, [] {
      const int fd = open("f", O_WRONLY);
      did("write", write(fd, "y", 1));
      look_fd("after", fd);
    });
    look("f");
    chmod("f", mode);
    as_user(kAnn, kAnn, [] { did("truncate", truncate("f", 0)); });
    look("f");
    chmod("f", mode);
    as_user(kAnn, kAnn, [] { opened("O_TRUNC", open("f", O_WRONLY | O_TRUNC)); });
    look("f");
    chmod("f", mode);
    const int fd = open("f", O_WRONLY);
    did("root write", write(fd, "z", 1));
    look("f");
  }
}
CASE("users: chmod and chgrp by the owner") {
  spit("f", "x");
  chown("f", kAnn, kAnn);
  chmod("f", 0644);
  chmod(".", 0777);
  as_user(kAnn, kAnn, [] {
    did("chmod", chmod("f", 0600));
    did("chgrp foreign", chown("f", -1, kTeam));
    did("give away", chown("f", kBob, -1));
  });
  as_user(kAnn, kAnn, [] { did("chgrp own", chown("f", -1, kTeam)); }, {kTeam});
  look("f");
  as_user(kAnn, kAnn, [] { did("setgid of foreign group", chmod("f", 02755)); });
  look("f");
  chmod("f", 06755);
  as_user(kAnn, kAnn, [] { did("chgrp clears", chown("f", -1, kAnn)); });
  look("f");
}
CASE("users: times of a file one may only write") {
  spit("f", "x");
  chmod("f", 0666);
  chmod(".", 0777);
  as_user(kAnn, kAnn, [] {
    did("now", utimensat(AT_FDCWD, "f", nullptr, 0));
    timespec exact[] = {{1, 0}, {2, 0}};
    did("exact", utimensat(AT_FDCWD, "f", exact, 0));
    timespec mixed[] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
    did("omit and now", utimensat(AT_FDCWD, "f", mixed, 0));
    timespec omit[] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    did("omit both", utimensat(AT_FDCWD, "f", omit, 0));
  });
}
CASE("users: executing") {
  spit("run", "#!/bin/sh\necho ran\n", 0755);
  spit("norun", "#!/bin/sh\necho ran\n", 0644);
  chmod(".", 0755);
  as_user(kAnn, kAnn, [] {
    did("x", access("run", X_OK));
    did("no x", access("norun", X_OK));
    if (fork() == 0) {
      execl("./run", "run", nullptr);
      _exit(9);
    }
    int status;
    wait(&status);
    say("run %d", WEXITSTATUS(status));
    if (fork() == 0) {
      execl("./norun", "norun", nullptr);
      _exit(errno);
    }
    wait(&status);
    say("norun %d", WEXITSTATUS(status));
  });
  did("root, no x bit", access("norun", X_OK));
}
CASE("users: hard links to another's file") {
  chmod(".", 0777);
  spit("f", "x", 0600);
  spit("g", "x", 0666);
  chmod("g", 0666);
  as_user(kAnn, kAnn, [] { did("unreadable", link("f", "l1")); did("writable", link("g", "l2")); });
}
