/* The limits of users: the configuration's, but for what the password file says of one. */
#ifndef ANNAL_SERVER_QUOTA_USERS_H
#define ANNAL_SERVER_QUOTA_USERS_H

#include "server/quota.h"
#include "server/users.h"

struct config;

struct quota_users {
    struct users *users; /* borrowed */
    struct quota_limits limits;
    struct quota_source source; /* of this; also where it was copied from */
};

/* out must not move while its source is used. */
void quota_users_init(struct quota_users *out, struct users *users, const struct config *config);

#endif
