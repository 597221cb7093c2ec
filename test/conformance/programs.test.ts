/**
 * Real programs on a mount: what they leave there must be what they leave on a plain directory.
 */
import { programSuite } from '../support/program-suite.ts'

const program = programSuite('programs on a mount')

program(
  'git: init, commit, clone, gc, fsck, checkout',
  ['git'],
  `git init -q repo && cd repo
   git config user.name t && git config user.email t@localhost
   cp -r "$SAMPLE"/. . && git add -A && git commit -qm one
   for n in $(seq 20); do echo "$n" >> counter; git add -A; git commit -qm "$n"; done
   git checkout -qb other HEAD~5 && echo x > x && git add x && git commit -qm x
   git checkout -q - && git merge -q --no-edit other
   test -z "$(git status --porcelain)"
   git gc -q && git fsck --full --strict
   cd .. && git clone -q repo copy && git -C copy fsck --full
   git clone -q repo "$PLAIN/copy" && diff -r --exclude .git copy "$PLAIN/copy"`,
)

program(
  'tar: there and back with all metadata',
  ['tar'],
  `cp -a "$SAMPLE" tree && cd tree
   ln -s src/errors.ts link && ln src/errors.ts hard
   mkfifo pipe && chmod 4751 src/errors.ts && touch -d '2001-02-03 04:05:06.789' docs
   truncate -s 10M sparse && printf end >> sparse
   cd .. && tar -S -cf all.tar tree && mkdir out && tar -xpf all.tar -C out
   list() { (cd "$1" && find . -printf '%P %y %m %U %G %s %n %l\\n' | sort); }
   diff <(list tree | grep -v ' d ') <(list out/tree | grep -v ' d ')
   diff -r --no-dereference tree/src out/tree/src
   cmp tree/sparse out/tree/sparse`,
)

program(
  'rsync: -aHAX both ways, then nothing left to do',
  ['rsync', 'setfattr', 'setfacl'],
  `cp -a "$SAMPLE" "$PLAIN/tree"
   ln "$PLAIN/tree/src/errors.ts" "$PLAIN/tree/hard"
   setfattr -n user.color -v blue "$PLAIN/tree/src/errors.ts"
   setfacl -m u:12345:r "$PLAIN/tree/hard"
   rsync -aHAX "$PLAIN/tree/" tree/
   test -z "$(rsync -aHAXcni "$PLAIN/tree/" tree/)"
   rsync -aHAX tree/ "$PLAIN/back/"
   test -z "$(rsync -aHAXcni --delete tree/ "$PLAIN/back/")"
   test "$(getfattr --only-values -n user.color tree/hard)" = blue
   getfacl -n tree/hard | grep -q 'user:12345:r'`,
  { packages: ['rsync', 'attr', 'acl'] },
)

program(
  'sqlite3: WAL, concurrent writers, integrity',
  ['sqlite3'],
  `sqlite3 db 'pragma journal_mode=wal; create table t(n integer)' | grep -q wal
   for w in 1 2 3; do
     (for n in $(seq 40); do echo "pragma busy_timeout=20000; insert into t values ($n);"; done | sqlite3 db >/dev/null) &
   done
   wait
   test "$(sqlite3 db 'select count(*), sum(n) from t')" = '120|2460'
   test "$(sqlite3 db 'pragma integrity_check')" = ok
   sqlite3 db 'pragma wal_checkpoint(truncate)' >/dev/null
   cp db "$PLAIN/db" && test "$(sqlite3 "$PLAIN/db" 'select count(*) from t')" = 120`,
)

program(
  'vim: saves with and without backup, keeps mode and links',
  ['vim'],
  `printf 'one\\n' > file && chmod 640 file && ln file other
   vim -Nu NONE -es -c 'set backup' -c 's/one/two/' -c wq file
   grep -q two file && test "$(stat -c %a file)" = 640
   vim -Nu NONE -es -c 'set nobackup nowritebackup' -c 's/two/three/' -c wq file
   grep -q three file
   vim -Nu NONE -es -c 'set backupcopy=no' -c 's/three/four/' -c wq file
   grep -q four file
   test ! -e .file.swp`,
)

program(
  'npm: ci of this project',
  ['npm'],
  `cp "$ROOT/package.json" "$ROOT/package-lock.json" "$ROOT/.npmrc" .
   npm ci --no-audit --no-fund --prefer-offline --loglevel=error
   test -x node_modules/.bin/tsc && node_modules/.bin/node -e 'console.log(process.version)'
   npm ls >/dev/null
   rm -r node_modules`,
)

program(
  'cp, mv, find, sed -i, sort, dd, split, truncate',
  ['find'],
  `cp -a "$SAMPLE" a && cp -r --reflink=auto a b && diff -r a b
   mv b c && mv c/src "$PLAIN/src" && mv "$PLAIN/src" c/src && diff -r a c
   test "$(find a -type f | wc -l)" = "$(find c -type f | wc -l)"
   sed -i 's/export/EXPORT/' c/src/errors.ts && grep -q EXPORT c/src/errors.ts
   dd if=/dev/urandom of=big bs=1M count=20 status=none && split -b 3M big part- && cat part-* | cmp - big
   sort -R big -o sorted 2>/dev/null || true
   truncate -s 5M big && test "$(stat -c %s big)" = 5242880
   rm -r a c && test ! -e a`,
)

program.run()
