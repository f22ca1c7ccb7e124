//! The lessons: what courses on streams do with Spark, each by one command.
//!
//! For each lesson: what its program says, the command, and what comes out of it (left out where it says `…`). In a block, the first command feeds
//! the second, unless it is the other way round; `nc` is OpenBSD's, as Debian has it. A test runs these very commands.
//!
//! A batch of the lessons is an epoch here: a second of live input, unless `--tick` says otherwise. On the console each epoch
//! shows the rows that are new or have changed, under its number; `--sink 'console:?mode=complete'` shows all of them every time, and
//! `--sink jsonl:-` is for programs. All of it goes on until it is told to end (Ctrl-C), and then ends in order: with what has
//! come by then.
//!
//! # Errors of each second
//!
//! *`ssc.socketTextStream("localhost", 8888)` in batches of a second, `lines.filter(_.contains("error"))`, `print()`.*
//!
//! ```text
//! $ printf 'disk error on sda\nall is well\nno error at all\n' | nc -lk 8888 &
//! $ thalweg run error-lines --source tcp://localhost:8888
//! …
//! errors (2 rows)
//!   line
//!   disk error on sda
//!   no error at all
//!
//! error_count (1 row)
//!   count
//!       2
//! ```
//!
//! A line is shown once, whatever comes after it. All of them are, where `print()` shows the first ten of a batch; `--contains` is the text.
//!
//! # Words
//!
//! *`lines.flatMap(_.split(" "))`, each word with a 1, added up, and `hello 3` printed.*
//!
//! ```text
//! $ printf 'hello world\nhello hello\n' | nc -lk 9999 &
//! $ thalweg run word-count --source tcp://localhost:9999
//! …
//! words (2 rows)
//!   word   count
//!   hello      3
//!   world      1
//! ```
//!
//! These counts run on: a word's is that of all of its lines so far, and is shown again when it has changed (`updateStateByKey`).
//! `--per batch` counts each batch by itself, as the lesson's `pprint` shows it, and `--per both` shows the two beside each other:
//!
//! ```text
//! $ printf 'hello world\nhello hello\n' | nc -lk 9999 &
//! $ thalweg run word-count --per batch --source tcp://localhost:9999
//! …
//! batch (2 rows)
//!   arrived                   word   count
//!   2026-11-28T00:10:00.250Z  hello      3
//!   2026-11-28T00:10:00.250Z  world      1
//! ```
//!
//! # Statistics of all time and of the last window
//!
//! *`tail -f access.log | nc -lk 9999`; sizes, statuses, frequent addresses and first endpoints of a `window(30 s, 10 s)`, and beside
//! them those of all time, by `updateStateByKey` and static counters.*
//!
//! ```text
//! $ tail -n +1 -f data/access.log | nc -lk 9999 &
//! $ thalweg run log-stats --source tcp://localhost:9999
//! …
//! input (1 row)
//!   lines  parsed  malformed  oversize  untimed  ahead  refusals
//!    2000    1982         18         0        0      0         0
//! …
//! content_size (1 row)
//!   of        count        sum  min      max        mean  missing
//!   all time   1887  256440555    0  1047071  135898.545       95
//! …
//! window (1 row)
//!   start                 end
//!   2015-05-17T10:21:00Z  2015-05-17T10:21:30Z
//! …
//! content_size (1 row)
//!   of      count      sum  min      max        mean  missing
//!   window     59  8358704    0  1016668  141672.949        3
//! ```
//!
//! Windows are those of the times in the log, so an old log has the windows that it had when it was new, however fast it is sent; each is shown when a line
//! can no longer be late for it. `--time arrival` goes by the clock of this machine, as the lessons do. A line that is not of the form
//! is counted and shown, and stops nothing.
//!
//! # A log that is sent in chunks
//!
//! *The script that sends a hundred lines every ten seconds, each time with an `nc` of its own.*
//!
//! ```text
//! $ split -l 100 data/access.log chunk. && for chunk in chunk.*; do nc -lN 9999 < $chunk; sleep 10; done &
//! $ thalweg run status-counts --source tcp://localhost:9999
//! …
//! counts (13 rows)
//!   status  count
//!      200   1748
//!      304     92
//!      404     34
//!      302     28
//!      301     27
//!      500     17
//! …
//! ```
//!
//! When the connection ends another is tried, until there is one: the chunks are one log.
//!
//! # Files that are moved into a directory
//!
//! *`ssc.textFileStream(directory)`: files that come after the start, each once.*
//!
//! ```text
//! $ thalweg run access-log --min-requests 60 --top 3 --source 'dir:incoming?existing=ignore' &
//! $ mv yesterday.log incoming/
//! …
//! content_size (1 row)
//!   count        sum  min      max        mean  missing
//!    1887  256440555    0  1047071  135898.545       95
//!
//! frequent_clients (5 rows)
//!   client          count
//!   146.154.95.177    299
//!   76.73.212.8       144
//!   59.74.225.142     104
//!   110.92.231.9       86
//!   128.89.167.176     62
//!
//! top_endpoints (3 rows)
//!   rank  endpoint                           count
//!      1  /favicon.ico                         456
//!      2  /assets/css/style2.css?v=20150412    224
//!      3  /                                    157
//! ```
//!
//! Without `existing=ignore` the files that are there come first, in the order of their age ([sources](super::sources)).
//!
//! # The most requested URLs
//!
//! *Of the last 30 seconds, every 10, by `current_timestamp()`, the first by count.*
//!
//! ```text
//! $ nc -lk 9999 < data/access.log &
//! $ thalweg run top-urls --time arrival --top 3 --source tcp://localhost:9999
//! …
//! top_urls (3 rows)
//!   start                 end                   rank  url                                count
//!   2026-11-27T23:54:00Z  2026-11-27T23:54:30Z     1  /favicon.ico                         456
//!   2026-11-27T23:54:00Z  2026-11-27T23:54:30Z     2  /assets/css/style2.css?v=20150412    224
//!   2026-11-27T23:54:00Z  2026-11-27T23:54:30Z     3  /                                    157
//! ```
//!
//! Without `--time arrival` they are those of the times at which they were requested.
//!
//! # Hashtags
//!
//! *`text.split(" ")`, what `startsWith("#")`, `reduceByKeyAndWindow` with its inverse over five minutes, every second, sorted, the first ten.*
//!
//! ```text
//! $ nc -lk 9999 < data/tweets.jsonl &
//! $ thalweg run hashtags --time arrival --top 3 --source tcp://localhost:9999
//! …
//! hashtags (3 rows)
//!   start                 end                   rank  tag                      count
//!   2026-11-27T23:49:35Z  2026-11-27T23:54:35Z     1  #BigData                   398
//!   2026-11-27T23:49:35Z  2026-11-27T23:54:35Z     2  #ArtificialIntelligence    190
//!   2026-11-27T23:49:35Z  2026-11-27T23:54:35Z     3  #DataScience               135
//! ```
//!
//! A tag that has left the window is gone, where the lesson's keeps it with a 0.
