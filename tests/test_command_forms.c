/* Every form of command that clients are known to send, and those of the RFCs, by their typed
 * result. Flags are bits in the order Answered, Flagged, Deleted, Seen, Draft; 0 stands for "*". */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/parser_trace.h"

/* What is sent, and what parser_trace() makes of it. */
static const struct form {
    const char *input;
    const char *trace;
} forms[] = {
    {"a CAPABILITY\r\n", "a CAPABILITY\n"},
    {"a noop\r\n", "a NOOP\n"},
    {"a nOoP\r\n", "a NOOP\n"},
    {"a NOOP \r\n", "a NOOP\n"},
    {"a LOGOUT\r\n", "a LOGOUT\n"},
    {"a STARTTLS\r\n", "a STARTTLS\n"},
    {"a IDLE\r\n", "a IDLE\n"},
    {"a CHECK\r\n", "a CHECK\n"},
    {"a CLOSE\r\n", "a CLOSE\n"},
    {"a UNSELECT\r\n", "a UNSELECT\n"},
    {"a EXPUNGE\r\n", "a EXPUNGE\n"},
    {"a NAMESPACE\r\n", "a NAMESPACE\n"},
    {"a namespace\r\n", "a NAMESPACE\n"},
    {"a AUTHENTICATE PLAIN\r\n", "a AUTHENTICATE mechanism=\"PLAIN\" initial=NIL\n"},
    {"a AUTHENTICATE LOGIN Ym9i\r\n", "a AUTHENTICATE mechanism=\"LOGIN\" initial=\"Ym9i\"\n"},
    {"a AUTHENTICATE plain AGJvYgBzZWNyZXQ=\r\n",
     "a AUTHENTICATE mechanism=\"PLAIN\" initial=\"AGJvYgBzZWNyZXQ=\"\n"},
    {"a AUTHENTICATE EXTERNAL =\r\n", "a AUTHENTICATE mechanism=\"EXTERNAL\" initial=\"=\"\n"},
    {"a LOGIN bob secret\r\n", "a LOGIN user=\"bob\" password=\"secret\"\n"},
    {"a LOGIN \"bob\" \"se\\\"cr\\\\et\"\r\n", "a LOGIN user=\"bob\" password=\"se\"cr\\et\"\n"},
    {"a LOGIN {3}\r\nbob {6}\r\nsecret\r\n",
     "CONTINUE\nCONTINUE\na LOGIN user=\"bob\" password=\"secret\"\n"},
    {"a LOGIN {3+}\r\nbob {0+}\r\n\r\n", "a LOGIN user=\"bob\" password=\"\"\n"},
    {"a ID NIL\r\n", "a ID NIL\n"},
    {"a ID ()\r\n", "a ID\n"},
    {"a ID (\"name\" \"mutt\" \"version\" \"2.2\" \"os\" NIL \"vendor\" \"x\")\r\n",
     "a ID name=\"mutt\" version=\"2.2\" os=NIL vendor=\"x\"\n"},
    {"a ID (\"name\" {4}\r\nmutt)\r\n", "CONTINUE\na ID name=\"mutt\"\n"},
    {"a ENABLE QRESYNC\r\n", "a ENABLE enable=[QRESYNC]\n"},
    {"a ENABLE UTF8=ACCEPT\r\n", "a ENABLE enable=[UTF8=ACCEPT]\n"},
    {"a enable CondStore qresync\r\n", "a ENABLE enable=[CONDSTORE|QRESYNC]\n"},
    {"a COMPRESS DEFLATE\r\n", "a COMPRESS algorithm=\"DEFLATE\"\n"},
    {"a COMPRESS deflate\r\n", "a COMPRESS algorithm=\"DEFLATE\"\n"},
    {"a SELECT INBOX\r\n", "a SELECT mailbox=\"INBOX\"\n"},
    {"a select inbox\r\n", "a SELECT mailbox=\"INBOX\"\n"},
    {"a SELECT \"Sent Items\"\r\n", "a SELECT mailbox=\"Sent Items\"\n"},
    {"a SELECT {6}\r\nDrafts\r\n", "CONTINUE\na SELECT mailbox=\"Drafts\"\n"},
    {"a SELECT INBOX (CONDSTORE)\r\n", "a SELECT mailbox=\"INBOX\" condstore\n"},
    {"a EXAMINE a/b (condstore)\r\n", "a EXAMINE mailbox=\"a/b\" condstore\n"},
    {"a SELECT INBOX (QRESYNC (67890007 20050715194045000))\r\n",
     "a SELECT mailbox=\"INBOX\" qresync=67890007,20050715194045000\n"},
    {"a SELECT INBOX (QRESYNC (67890007 20050715194045000 41,43:211,214:541))\r\n",
     "a SELECT mailbox=\"INBOX\" qresync=67890007,20050715194045000 "
     "41:41,43:211,214:541\n"},
    {"a EXAMINE x (CondStore qresync (1 9223372036854775807 1:29997 (5000,7500,9990:9992 15000,"
     "22500,29970,29973,29976)))\r\n",
     "a EXAMINE mailbox=\"x\" condstore qresync=1,9223372036854775807 1:29997 ("
     " 5000:5000,7500:7500,9990:9992 15000:15000,22500:22500,29970:29970,29973:29973,"
     "29976:29976)\n"},
    {"a SELECT x (QRESYNC (4294967295 1 (1:4294967295 1:4294967295)) CONDSTORE)\r\n",
     "a SELECT mailbox=\"x\" condstore qresync=4294967295,1 ( 1:4294967295 1:4294967295)\n"},
    {"a EXAMINE Gr&APYA3w-er\r\n", "a EXAMINE mailbox=\"Gr\303\266\303\237er\"\n"},
    {"a SELECT \"&ZeVnLIqe-\"\r\n", "a SELECT mailbox=\"\346\227\245\346\234\254\350\252\236\"\n"},
    {"a SELECT \"Gr\303\266\303\237er\"\r\n", "a SELECT mailbox=\"Gr\303\266\303\237er\"\n"},
    {"a CREATE Archive\r\n", "a CREATE mailbox=\"Archive\"\n"},
    {"a Create \"Sent Items/2021\"\r\n", "a CREATE mailbox=\"Sent Items/2021\"\n"},
    {"a CREATE Sent2 (USE (\\Sent))\r\n", "a CREATE mailbox=\"Sent2\" use=\"\\Sent\"\n"},
    {"a CREATE x (use (\\drafts \\Junk))\r\n", "a CREATE mailbox=\"x\" use=\"\\drafts\" many\n"},
    {"a CREATE x (USE ())\r\n", "a CREATE mailbox=\"x\"\n"},
    {"a DELETE Archive\r\n", "a DELETE mailbox=\"Archive\"\n"},
    {"a Delete \"a b\"\r\n", "a DELETE mailbox=\"a b\"\n"},
    {"a RENAME Archive Moved\r\n", "a RENAME from=\"Archive\" to=\"Moved\"\n"},
    {"a Rename a \"b c\"\r\n", "a RENAME from=\"a\" to=\"b c\"\n"},
    {"a RENAME {1+}\r\na {1+}\r\nb\r\n", "a RENAME from=\"a\" to=\"b\"\n"},
    {"a rename mbox Gr&AOk-en\r\n", "a RENAME from=\"mbox\" to=\"Gr\303\251en\"\n"},
    {"a SUBSCRIBE Archive\r\n", "a SUBSCRIBE mailbox=\"Archive\"\n"},
    {"a Subscribe INBOX\r\n", "a SUBSCRIBE mailbox=\"INBOX\"\n"},
    {"a UNSUBSCRIBE Archive\r\n", "a UNSUBSCRIBE mailbox=\"Archive\"\n"},
    {"a GETQUOTA \"\"\r\n", "a GETQUOTA root=\"\"\n"},
    {"a GETQUOTAROOT inbox\r\n", "a GETQUOTAROOT mailbox=\"INBOX\"\n"},
    {"a SETQUOTA {0+}\r\n (STORAGE 512 MESSAGE 1)\r\n", "a SETQUOTA root=\"\"\n"},
    {"a SETQUOTA x ()\r\n", "a SETQUOTA root=\"x\"\n"},
    {"a LIST \"\" *\r\n", "a LIST reference=\"\" patterns=[*]\n"},
    {"a LIST \"\" \"*\"\r\n", "a LIST reference=\"\" patterns=[*]\n"},
    {"a LIST \"\" %\r\n", "a LIST reference=\"\" patterns=[%]\n"},
    {"a LIST \"\" \"\"\r\n", "a LIST reference=\"\" patterns=[]\n"},
    {"a LIST \"\" inbox\r\n", "a LIST reference=\"\" patterns=[inbox]\n"},
    {"a LIST \"a/\" \"%\"\r\n", "a LIST reference=\"a/\" patterns=[%]\n"},
    {"a LIST \"\" &ZeVnLIqe-\r\n",
     "a LIST reference=\"\" patterns=[\346\227\245\346\234\254\350\252\236]\n"},
    {"a LIST () \"\" (Plain/*)\r\n",
     "a LIST extended select=0 return=0 status=0 reference=\"\" patterns=[Plain/*]\n"},
    {"a LIST () \"\" (INBOX G%)\r\n",
     "a LIST extended select=0 return=0 status=0 reference=\"\" patterns=[INBOX|G%]\n"},
    {"a LIST () \"\" (*) RETURN (CHILDREN SPECIAL-USE STATUS (MESSAGES))\r\n",
     "a LIST extended select=0 return=e status=1 reference=\"\" patterns=[*]\n"},
    {"a LIST () \"\" (INBOX \"a b\") RETURN (STATUS (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN "
     "HIGHESTMODSEQ))\r\n",
     "a LIST extended select=0 return=8 status=9f reference=\"\" patterns=[INBOX|a b]\n"},
    {"a LIST \"\" \"*\" RETURN (STATUS (MESSAGES UNSEEN UIDNEXT) SPECIAL-USE CHILDREN "
     "SUBSCRIBED)\r\n",
     "a LIST extended select=0 return=f status=15 reference=\"\" patterns=[*]\n"},
    {"a LIST \"\" \"%\" RETURN (CHILDREN)\r\n",
     "a LIST extended select=0 return=2 status=0 reference=\"\" patterns=[%]\n"},
    {"a LIST \"\" \"*\" RETURN ()\r\n",
     "a LIST extended select=0 return=0 status=0 reference=\"\" patterns=[*]\n"},
    {"a LIST \"\" * RETURN (SUBSCRIBED STATUS (UIDVALIDITY UIDNEXT HIGHESTMODSEQ))\r\n",
     "a LIST extended select=0 return=9 status=8c reference=\"\" patterns=[*]\n"},
    {"a LIST \"\" (\"a\" \"b\")\r\n",
     "a LIST extended select=0 return=0 status=0 reference=\"\" patterns=[a|b]\n"},
    {"a list (subscribed recursivematch) \"\" \"*\" return (subscribed)\r\n",
     "a LIST extended select=5 return=1 status=0 reference=\"\" patterns=[*]\n"},
    {"a LIST (SPECIAL-USE) \"\" \"*\"\r\n",
     "a LIST extended select=8 return=0 status=0 reference=\"\" patterns=[*]\n"},
    {"a LIST (SUBSCRIBED REMOTE) \"\" \"*\"\r\n",
     "a LIST extended select=3 return=0 status=0 reference=\"\" patterns=[*]\n"},
    {"a LIST {0}\r\n {1}\r\n*\r\n", "CONTINUE\nCONTINUE\na LIST reference=\"\" patterns=[*]\n"},
    {"a LIST () {0+}\r\n ({1+}\r\n* %)\r\n",
     "a LIST extended select=0 return=0 status=0 reference=\"\" patterns=[*|%]\n"},
    {"a LIST \"\" ({5+}\r\nINBOX)\r\n",
     "a LIST extended select=0 return=0 status=0 reference=\"\" patterns=[INBOX]\n"},
    {"a LSUB \"\" \"*\"\r\n", "a LSUB reference=\"\" patterns=[*]\n"},
    {"a LSUB \"\" Plain/*\r\n", "a LSUB reference=\"\" patterns=[Plain/*]\n"},
    {"a LSUB \"\" *\r\n", "a LSUB reference=\"\" patterns=[*]\n"},
    {"a LSUB \"\" \"a b\"\r\n", "a LSUB reference=\"\" patterns=[a b]\n"},
    {"a LSUB {0+}\r\n {1+}\r\n%\r\n", "a LSUB reference=\"\" patterns=[%]\n"},
    {"a STATUS INBOX (MESSAGES)\r\n", "a STATUS mailbox=\"INBOX\" items=1\n"},
    {"a STATUS \"a b\" (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)\r\n",
     "a STATUS mailbox=\"a b\" items=1f\n"},
    {"a STATUS {5}\r\nINBOX (UIDNEXT)\r\n", "CONTINUE\na STATUS mailbox=\"INBOX\" items=4\n"},
    {"a status x (messages uidnext uidvalidity highestmodseq size deleted appendlimit "
     "mailboxid)\r\n",
     "a STATUS mailbox=\"x\" items=3ed\n"},
    {"a APPEND INBOX {5}\r\nhello\r\n", "BEGIN (size=5 flags=0) synchronising\nEND \"hello\"\na "
                                        "APPEND mailbox=\"INBOX\" (size=5 flags=0)\n"},
    {"a APPEND INBOX (\\Seen) {5+}\r\nhello\r\n",
     "BEGIN (size=5 flags=8)\nEND \"hello\"\na APPEND mailbox=\"INBOX\" (size=5 flags=8)\n"},
    {"a append INBOX () \"17-Jul-1996 02:44:25 -0700\" {5}\r\nhello\r\n",
     "BEGIN (size=5 flags=0 date=17-Jul-1996 02:44:25 -0700) synchronising\nEND \"hello\"\na "
     "APPEND mailbox=\"INBOX\" (size=5 flags=0 date=17-Jul-1996 02:44:25 -0700)\n"},
    {"a APPEND INBOX (\\Seen custom) \" 3-Feb-2021 04:05:06 +0100\" {5+}\r\nhello\r\n",
     "BEGIN (size=5 flags=8 keywords=[custom] date= 3-Feb-2021 04:05:06 +0100)\nEND \"hello\"\na "
     "APPEND mailbox=\"INBOX\" (size=5 flags=8 keywords=[custom] date= 3-Feb-2021 04:05:06 "
     "+0100)\n"},
    {"a APPEND INBOX \"03-Feb-2021 04:05:06 +0000\" {0}\r\n\r\n",
     "BEGIN (size=0 flags=0 date= 3-Feb-2021 04:05:06 +0000) synchronising\nEND \"\"\na APPEND "
     "mailbox=\"INBOX\" (size=0 flags=0 date= 3-Feb-2021 04:05:06 +0000)\n"},
    {"a APPEND INBOX (\\Recent \\Flagged $custom) {5}\r\nhello\r\n",
     "BEGIN (size=5 flags=2 keywords=[$custom]) synchronising\nEND \"hello\"\na APPEND "
     "mailbox=\"INBOX\" (size=5 flags=2 keywords=[$custom])\n"},
    {"a APPEND INBOX (\\seen horde Horde) \"03-Feb-2021 04:05:06 +0000\" {1}\r\na \"03-Feb-2021 "
     "04:05:06 +0000\" {2}\r\nbc (\\Draft) {3+}\r\ndef () {0+}\r\n\r\n",
     "BEGIN (size=1 flags=8 keywords=[horde] date= 3-Feb-2021 04:05:06 +0000) synchronising\nEND "
     "\"a\"\nBEGIN (size=2 flags=0 date= 3-Feb-2021 04:05:06 +0000) synchronising\nEND "
     "\"bc\"\nBEGIN (size=3 flags=10)\nEND \"def\"\nBEGIN (size=0 flags=0)\nEND \"\"\na APPEND "
     "mailbox=\"INBOX\" (size=1 flags=8 keywords=[horde] date= 3-Feb-2021 04:05:06 +0000) (size=2 "
     "flags=0 date= 3-Feb-2021 04:05:06 +0000) (size=3 flags=10) (size=0 flags=0)\n"},
    {"a APPEND {5}\r\nINBOX {5}\r\nhello\r\n",
     "CONTINUE\nBEGIN (size=5 flags=0) synchronising\nEND \"hello\"\na APPEND mailbox=\"INBOX\" "
     "(size=5 flags=0)\n"},
    {"a APPEND {5+}\r\nINBOX (\\Seen) {5+}\r\nhello \r\n",
     "BEGIN (size=5 flags=8)\nEND \"hello\"\na APPEND mailbox=\"INBOX\" (size=5 flags=8)\n"},
    {"a UID FETCH 1 BODY[]\r\n", "a UID FETCH 1:1 SECTION[]\n"},
    {"a UID FETCH 1:4294967295 FLAGS\r\n", "a UID FETCH 1:4294967295 FLAGS\n"},
    {"a UID FETCH 1:* FLAGS\r\n", "a UID FETCH 1:0 FLAGS\n"},
    {"a uid fetch 1:* (flags)\r\n", "a UID FETCH 1:0 FLAGS\n"},
    {"a UID fetch 7 (UID RFC822.SIZE BODY.PEEK[]<0.65536>)\r\n",
     "a UID FETCH 7:7 UID SIZE SECTION.PEEK[]<0.65536>\n"},
    {"a FETCH 2,4:6,* (UID)\r\n", "a FETCH 2:2,4:6,0:0 UID\n"},
    {"a FETCH *:3 (UID)\r\n", "a FETCH 0:3 UID\n"},
    {"a FETCH 1 FAST\r\n", "a FETCH 1:1 FLAGS INTERNALDATE SIZE\n"},
    {"a FETCH 1 ALL\r\n", "a FETCH 1:1 FLAGS INTERNALDATE SIZE ENVELOPE\n"},
    {"a FETCH 1 full\r\n", "a FETCH 1:1 FLAGS INTERNALDATE SIZE ENVELOPE BODY\n"},
    {"a FETCH 1 (RFC822.SIZE BODY.PEEK[])\r\n", "a FETCH 1:1 SIZE SECTION.PEEK[]\n"},
    {"a FETCH 1 (RFC822.HEADER RFC822.TEXT)\r\n", "a FETCH 1:1 RFC822.HEADER RFC822.TEXT\n"},
    {"a FETCH 1 RFC822\r\n", "a FETCH 1:1 RFC822\n"},
    {"a FETCH 1 RFC822.HEADER\r\n", "a FETCH 1:1 RFC822.HEADER\n"},
    {"a FETCH 1 BODY\r\n", "a FETCH 1:1 BODY\n"},
    {"a FETCH 1 (BINARY[] binary.peek[1.2]<3.4> BINARY.SIZE[1] BINARY[])\r\n",
     "a FETCH 1:1 BINARY[] BINARY.PEEK[1.2.]<3.4> BINARY.SIZE.PEEK[1.]\n"},
    {"a FETCH 1 (BODYSTRUCTURE ENVELOPE)\r\n", "a FETCH 1:1 BODYSTRUCTURE ENVELOPE\n"},
    {"a FETCH 1 BODY.PEEK[HEADER]\r\n", "a FETCH 1:1 SECTION.PEEK[HEADER]\n"},
    {"a FETCH 1 BODY.PEEK[TEXT]\r\n", "a FETCH 1:1 SECTION.PEEK[TEXT]\n"},
    {"a FETCH 1 (BODY.PEEK[HEADER.FIELDS (Subject X-Long Nothing)])\r\n",
     "a FETCH 1:1 SECTION.PEEK[HEADER.FIELDS names=[Subject|X-Long|Nothing]]\n"},
    {"a FETCH 1 (BODY.PEEK[HEADER.FIELDS.NOT (Subject From)])\r\n",
     "a FETCH 1:1 SECTION.PEEK[HEADER.NOT names=[Subject|From]]\n"},
    {"a FETCH 1 (BODY.PEEK[1] BODY.PEEK[2.MIME] BODY.PEEK[1.HEADER] BODY.PEEK[1.1] "
     "BODY[1.2.3.TEXT])\r\n",
     "a FETCH 1:1 SECTION.PEEK[1.] SECTION.PEEK[2.MIME] SECTION.PEEK[1.HEADER] SECTION.PEEK[1.1.] "
     "SECTION[1.2.3.TEXT]\n"},
    {"a FETCH 1 (body[1.header.fields.not (a)])\r\n",
     "a FETCH 1:1 SECTION[1.HEADER.NOT names=[a]]\n"},
    {"a UID FETCH 1:3 (ENVELOPE BODYSTRUCTURE FLAGS RFC822.SIZE INTERNALDATE BODY.PEEK[] "
     "BODY.PEEK[HEADER] BODY.PEEK[TEXT]<0.100> BODY.PEEK[HEADER.FIELDS (SUBJECT X-LONG)] "
     "BODY.PEEK[1] BODY.PEEK[1.MIME] MODSEQ)\r\n",
     "a UID FETCH 1:3 ENVELOPE BODYSTRUCTURE FLAGS SIZE INTERNALDATE SECTION.PEEK[] "
     "SECTION.PEEK[HEADER] SECTION.PEEK[TEXT]<0.100> SECTION.PEEK[HEADER.FIELDS "
     "names=[SUBJECT|X-LONG]] SECTION.PEEK[1.] SECTION.PEEK[1.MIME] MODSEQ\n"},
    {"a UID FETCH 1 BODY[HEADER.FIELDS ({7+}\r\nSubject {4}\r\nFrom \"To\" a]b)]<3.4>\r\n",
     "CONTINUE\na UID FETCH 1:1 SECTION[HEADER.FIELDS names=[Subject|From|To|a]b]]<3.4>\n"},
    {"a UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)\r\n",
     "a UID FETCH 300:500 FLAGS since=12345 vanished\n"},
    {"a uid fetch 1:* uid (vanished changedsince 1)\r\n", "a UID FETCH 1:0 UID since=1 vanished\n"},
    {"a FETCH 1:* (UID FLAGS MODSEQ) (CHANGEDSINCE 12345)\r\n",
     "a FETCH 1:0 UID FLAGS MODSEQ since=12345\n"},
    {"a UID FETCH 1:* UID (changedsince 1)\r\n", "a UID FETCH 1:0 UID since=1\n"},
    {"a FETCH 1 (UID FLAGS UID flags BODY[] BODY.PEEK[] BODY[] BODY[]<0.1>)\r\n",
     "a FETCH 1:1 UID FLAGS SECTION[] SECTION.PEEK[] SECTION[]<0.1>\n"},
    {"a STORE 1 +Flags (\\FLAGGED)\r\n", "a STORE 1:1 ADD flags=2\n"},
    {"a STORE 1 +FLAGS \\Seen\r\n", "a STORE 1:1 ADD flags=8\n"},
    {"a UID STORE 1 FLAGS (\\Deleted \\Seen)\r\n", "a UID STORE 1:1 REPLACE flags=c\n"},
    {"a UID STORE 1 +FLAGS \\flagged $Forwarded\r\n",
     "a UID STORE 1:1 ADD flags=2 keywords=[$Forwarded]\n"},
    {"a UID STORE 1:2,5 -FLAGS.SILENT (\\Draft \\Flagged \\Answered \\Seen)\r\n",
     "a UID STORE 1:2,5:5 REMOVE.SILENT flags=1b\n"},
    {"a uid store 1 +flags.silent ($label1 own-tag OWN-TAG)\r\n",
     "a UID STORE 1:1 ADD.SILENT flags=0 keywords=[$label1|own-tag]\n"},
    {"a UID STORE 1 (UNCHANGEDSINCE 320162338) FLAGS.SILENT ($Forwarded \\Answered)\r\n",
     "a UID STORE 1:1 REPLACE.SILENT since=320162338 flags=1 keywords=[$Forwarded]\n"},
    {"a UID STORE 1 (unchangedsince 0) +FLAGS (\\Draft)\r\n",
     "a UID STORE 1:1 ADD since=0 flags=10\n"},
    {"a STORE 1 FLAGS ()\r\n", "a STORE 1:1 REPLACE flags=0\n"},
    {"a STORE 1 -FLAGS (\\Recent)\r\n", "a STORE 1:1 REMOVE flags=0\n"},
    {"a COPY 1:3 \"a b\"\r\n", "a COPY 1:3 mailbox=\"a b\"\n"},
    {"a COPY 1 {5}\r\nTrash\r\n", "CONTINUE\na COPY 1:1 mailbox=\"Trash\"\n"},
    {"a UID COPY 1,3 INBOX\r\n", "a UID COPY 1:1,3:3 mailbox=\"INBOX\"\n"},
    {"a uid move 1:2 Trash\r\n", "a UID MOVE 1:2 mailbox=\"Trash\"\n"},
    {"a MOVE 1 Trash\r\n", "a MOVE 1:1 mailbox=\"Trash\"\n"},
    {"a UID MOVE 1 {5+}\r\nTrash\r\n", "a UID MOVE 1:1 mailbox=\"Trash\"\n"},
    {"a UID EXPUNGE 1:3\r\n", "a UID EXPUNGE 1:3\n"},
    {"a SEARCH ALL\r\n", "a SEARCH AND>2 ALL\n"},
    {"a UID SEARCH unseen\r\n", "a UID SEARCH AND>3 NOT>3 FLAG 8\n"},
    {"a SEARCH UNANSWERED UNDELETED UNSEEN\r\n",
     "a SEARCH AND>7 NOT>3 FLAG 1 NOT>5 FLAG 4 NOT>7 FLAG 8\n"},
    {"a UID SEARCH CHARSET UTF-8 ALL\r\n", "a UID SEARCH AND>2 ALL\n"},
    {"a UID SEARCH CHARSET \"UTF-8\" ALL FROM \"bob\"\r\n",
     "a UID SEARCH AND>3 ALL HEADER <From> \"bob\"/3\n"},
    {"a SEARCH CHARSET US-ASCII (OR FROM \"a\" SUBJECT \"b\")\r\n",
     "a SEARCH AND>5 AND>5 OR>5 HEADER <From> \"a\"/1 HEADER <Subject> \"b\"/1\n"},
    {"a SEARCH CHARSET US-ASCII (NOT (SUBJECT \"s\") SMALLER 100)\r\n",
     "a SEARCH AND>6 AND>6 NOT>5 AND>5 HEADER <Subject> \"s\"/1 SMALLER 100\n"},
    {"a SEARCH charset utf-8 BODY {4}\r\n\303\244\303\266\r\n",
     "CONTINUE\na SEARCH AND>2 BODY \"\303\244\303\266\"/4\n"},
    {"a UID SEARCH RETURN (ALL COUNT) CHARSET UTF-8 BODY {1+}\r\nx\r\n",
     "a UID SEARCH return=c AND>2 BODY \"x\"/1\n"},
    {"a FETCH $ UID\r\n", "a FETCH $ UID\n"},
    {"a UID SEARCH return (save) $ SEEN UID $\r\n",
     "a UID SEARCH return=10 AND>4 UID $ FLAG 8 UID $\n"},
    {"a SEARCH CHARSET ISO-8859-15 SUBJECT {5+}\r\nGr\374\337e FROM \"\244\"\r\n",
     "a SEARCH AND>3 HEADER <Subject> \"Gr\303\274\303\237e\"/7 HEADER <From> "
     "\"\342\202\254\"/3\n"},
    {"a SEARCH CHARSET \"koi8-r\" BODY {3+}\r\n\304\301!\r\n",
     "a SEARCH AND>2 BODY \"\320\264\320\260!\"/5\n"},
    {"a SEARCH CHARSET ISO-2022-JP TEXT {8+}\r\n\033$B%F\033(B\r\n",
     "a SEARCH AND>2 TEXT \"\343\203\206\"/3\n"},
    {"a SEARCH CHARSET X-NO-SUCH-CHARSET TEXT \"\377s\"\r\n",
     "a SEARCH bad-charset AND>2 TEXT \"\"/0\n"},
    {"a SEARCH SUBJECT \"\303\244\"\r\n", "a SEARCH AND>2 HEADER <Subject> \"\303\244\"/2\n"},
    {"a UID SEARCH OR FROM \"s\" HEADER Message-ID \"<a@b>\"\r\n",
     "a UID SEARCH AND>4 OR>4 HEADER <From> \"s\"/1 HEADER <Message-ID> \"<a@b>\"/5\n"},
    {"a UID SEARCH HEADER Message-ID <abc[1]@x.example>\r\n",
     "a UID SEARCH AND>2 HEADER <Message-ID> \"<abc[1]@x.example>\"/18\n"},
    {"a UID SEARCH OR (HEADER \"s\" \"t\") (BODY {3+}\r\nfoo)\r\n",
     "a UID SEARCH AND>6 OR>6 AND>4 HEADER <s> \"t\"/1 AND>6 BODY \"foo\"/3\n"},
    {"a SEARCH (OR SUBJECT \"s\" (DRAFT KEYWORD x))\r\n",
     "a SEARCH AND>7 AND>7 OR>7 HEADER <Subject> \"s\"/1 AND>7 FLAG 10 KEYWORD \"x\"/1\n"},
    {"a SEARCH HEADER \"X-A\" \"\"\r\n", "a SEARCH AND>2 HEADER <X-A> \"\"/0\n"},
    {"a SEARCH HEADER {3+}\r\nX-A {2+}\r\nbc\r\n", "a SEARCH AND>2 HEADER <X-A> \"bc\"/2\n"},
    {"a SEARCH 1:3 UID 4:5\r\n", "a SEARCH AND>3 SEQUENCE 1:3 UID 4:5\n"},
    {"a SEARCH SENTSINCE 1-Feb-1994 SENTBEFORE \"02-Feb-1994\"\r\n",
     "a SEARCH AND>3 SENTSINCE day=8797 SENTBEFORE day=8798\n"},
    {"a UID SEARCH SINCE 01-Jan-1970 LARGER 100 NOT DELETED\r\n",
     "a UID SEARCH AND>5 SINCE day=0 LARGER 100 NOT>5 FLAG 4\n"},
    {"a UID SEARCH RETURN (COUNT MIN) ALL\r\n", "a UID SEARCH return=9 AND>2 ALL\n"},
    {"a UID SEARCH RETURN () ALL\r\n", "a UID SEARCH return=4 AND>2 ALL\n"},
    {"a UID SEARCH RETURN (ALL COUNT) MODSEQ 12\r\n", "a UID SEARCH return=c AND>2 MODSEQ 12\n"},
    {"a SEARCH MODSEQ \"/flags/\\\\draft\" all 620162338\r\n", "a SEARCH AND>2 MODSEQ 620162338\n"},
    {"a UID SEARCH YOUNGER 3600 OLDER 60\r\n", "a UID SEARCH AND>3 YOUNGER 3600 OLDER 60\n"},
    {"a UID SEARCH KEYWORD x SEEN\r\n", "a UID SEARCH AND>3 KEYWORD \"x\"/1 FLAG 8\n"},
    {"a UID SEARCH OR ANSWERED UNKEYWORD $y\r\n",
     "a UID SEARCH AND>5 OR>5 FLAG 1 NOT>5 KEYWORD \"$y\"/2\n"},
    {"a SEARCH NEW OLD RECENT UNDRAFT DRAFT UNFLAGGED FLAGGED DELETED UNANSWERED ANSWERED\r\n",
     "a SEARCH AND>15 NEW NOT>4 RECENT RECENT NOT>7 FLAG 10 FLAG 10 NOT>10 FLAG 2 FLAG 2 FLAG 4 "
     "NOT>14 FLAG 1 FLAG 1\n"},
    {"a SEARCH BCC a CC b TO c TEXT d BODY e\r\n",
     "a SEARCH AND>6 HEADER <Bcc> \"a\"/1 HEADER <Cc> \"b\"/1 HEADER <To> \"c\"/1 TEXT \"d\"/1 "
     "BODY \"e\"/1\n"},
    {"a SEARCH BEFORE 1-Jan-2000 ON 2-Jan-2000 SINCE 3-Jan-2000 SENTON 4-Jan-2000\r\n",
     "a SEARCH AND>5 BEFORE day=10957 ON day=10958 SINCE day=10959 SENTON day=10960\n"},
    {"a SEARCH NOT NOT OR OR 1 2 3\r\n",
     "a SEARCH AND>8 NOT>8 NOT>8 OR>8 OR>7 SEQUENCE 1:1 SEQUENCE 2:2 SEQUENCE 3:3\n"},
    {"a FROBNICATE\r\n", "a FROBNICATE unknown\n"},
    {"a XLIST \"\" \"*\"\r\n", "a XLIST unknown\n"},
    {"a SORT (REVERSE DATE) UTF-8 ALL\r\n", "a SORT -by=2 AND>2 ALL\n"},
    {"a sort (subject reverse Date arrival CC from size TO displayfrom DisplayTo) us-ascii 1:2\r\n",
     "a SORT by=5 -by=2 by=0 by=1 by=3 by=4 by=6 by=7 by=8 AND>2 SEQUENCE 1:2\n"},
    {"a SORT (SIZE) {5+}\r\nUTF-8 TEXT {1+}\r\nx\r\n", "a SORT by=4 AND>2 TEXT \"x\"/1\n"},
    {"a SORT RETURN () (SIZE) X-NO-SUCH TEXT x\r\n",
     "a SORT return=4 bad-charset by=4 AND>2 TEXT \"\"/0\n"},
    {"a UID SORT RETURN (ALL COUNT) (REVERSE DATE) US-ASCII ALL\r\n",
     "a UID SORT return=c -by=2 AND>2 ALL\n"},
    {"a UID THREAD REFERENCES UTF-8 ALL\r\n", "a UID THREAD algorithm=1 AND>2 ALL\n"},
    {"a thread OrderedSubject us-ascii 1:2\r\n", "a THREAD algorithm=0 AND>2 SEQUENCE 1:2\n"},
    {"a THREAD REFERENCES \"UTF-8\" ALL\r\n", "a THREAD algorithm=1 AND>2 ALL\n"},
    {"a THREAD REFERENCES {5+}\r\nUTF-8 TEXT {1+}\r\nx\r\n",
     "a THREAD algorithm=1 AND>2 TEXT \"x\"/1\n"},
    {"a THREAD ORDEREDSUBJECT X-NO-SUCH TEXT x\r\n",
     "a THREAD algorithm=0 bad-charset AND>2 TEXT \"\"/0\n"},
    {"a UID NOOP\r\n", "a UID NOOP unknown\n"},
    {"a GETACL INBOX\r\n", "a GETACL unknown\n"},
    {"a MYRIGHTS \"a b\"\r\n", "a MYRIGHTS unknown\n"},
    {"a GETACL INBOX\r\n", "a GETACL unknown\n"},
    {"a SETACL \"s\" php-imap.1 lr\r\n", "a SETACL unknown\n"},
    {"a SETMETADATA \"s\" (/private/comment {5+}\r\nhello)\r\n", "a SETMETADATA unknown\n"},
    {"a GETMETADATA \"s\" (/private/comment)\r\n", "a GETMETADATA unknown\n"},
};

static void assert_trace(const struct form *form, const struct trace_settings *settings)
{
    char *trace = parser_trace(settings, form->input, strlen(form->input));

    ck_assert_msg(strcmp(trace, form->trace) == 0,
                  "chunk %zu split %zu of\n%s\nexpected:\n%s\ngot:\n%s", settings->chunk,
                  settings->split, form->input, form->trace, trace);
    g_free(trace);
}

START_TEST(test_command_forms__are_understood)
{
    assert_trace(&forms[_i], &(struct trace_settings){0});
}
END_TEST

START_TEST(test_command_forms__does_not_depend_on_how_octets_arrive)
{
    assert_trace(&forms[_i], &(struct trace_settings){.chunk = 1});
    assert_trace(&forms[_i], &(struct trace_settings){.chunk = 3});
    for (size_t split = 1; split < strlen(forms[_i].input); split++)
        assert_trace(&forms[_i], &(struct trace_settings){.split = split});
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("command_forms");
    TCase *test = tcase_create("command_forms");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(test, test_command_forms__are_understood, 0, (int)G_N_ELEMENTS(forms));
    tcase_add_loop_test(test, test_command_forms__does_not_depend_on_how_octets_arrive, 0,
                        (int)G_N_ELEMENTS(forms));
    suite_add_tcase(suite, test);
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
