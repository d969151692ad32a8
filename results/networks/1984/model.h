/*
 * mnist-under-2001, trial 0: 1,984 parameters, test accuracy 99.47% in float32.
 * Quantised to int8 by nas-search 0.1.0, calibrated on 1,024 training images.
 * Test accuracy of this file: 99.48% of 10,000 images.
 * Static memory: 10,584 bytes; constants: 3,890 bytes.
 *
 * Include it in one source file only: each that includes it has these constants and this memory anew.
 *
 *     #include "model.h"
 *     int digit = nas_search_predict(pixels);
 *
 * pixels: NAS_SEARCH_PIXELS bytes, row by row, 0 for background to 255 for ink.
 * nas_search_logits gives a score for each class, in 1 / NAS_SEARCH_LOGIT_ONE; the highest names the
 * digit. Both use nas_search_memory: do not call them from two threads at once.
 */
#ifndef NAS_SEARCH_MODEL_H
#define NAS_SEARCH_MODEL_H

#include <stdint.h>

#define NAS_SEARCH_PIXELS 784
#define NAS_SEARCH_CLASSES 10
#define NAS_SEARCH_LOGIT_ONE 65536

static const int32_t nas_search_multiplier1[1] = {
    1073741838,
};
static const int64_t nas_search_offset1[1] = {
    INT64_C(184145044),
};
static const int8_t nas_search_weight1[90] = {
    94, 50, 115, 33, 78, 19, -119, -121, -127, -34, -29, 66, 1, -127, 17, 74, -17, -60, 58, 12, 3,
    101, 23, -45, 78, 3, -127, -127, -6, 11, -20, -120, -50, 22, 2, -59, 53, 40, 30, -127, -66,
    80, -7, 11, 109, 23, -127, -94, 112, 12, -29, 4, 73, 88, -5, 94, 14, -53, 14, 127, -38, -113,
    -41, 4, -82, -69, -101, -47, 38, -84, 127, 32, 87, -23, -95, 18, 127, -37, -3, 24, 92, 56, 47,
    0, -29, 127, 49, 37, 87, 10,
};
static const int32_t nas_search_multiplier2[10] = {
    607291388, 1263095652, 745623964, 554673390, 928164076, 868217344, 1033613796, 740186075,
    830419520, 491709706,
};
static const int64_t nas_search_offset2[10] = {
    INT64_C(1667656759055), INT64_C(-1737734548285), INT64_C(5576492553059),
    INT64_C(5662764606831), INT64_C(-2545272774061), INT64_C(1738157444607),
    INT64_C(1226978098904), INT64_C(-477003568736), INT64_C(-96560554641), INT64_C(7617790778279),
};
static const int8_t nas_search_weight2[90] = {
    -6, -127, -76, 34, 25, 48, 33, 15, -25, 65, 94, -81, 109, 5, -54, -127, -54, 40, 11, -62, -59,
    -117, 0, 127, 7, 28, 28, 13, 14, -31, 70, 127, 64, 28, -15, 27, 83, 87, -127, 79, -125, -120,
    -21, 44, -60, 19, -12, -15, -29, 127, 18, -66, -123, -40, -3, -39, 49, -127, 51, 88, 81, 23,
    35, 69, -81, -127, 94, -90, -127, 89, 39, 46, -75, -24, -127, -25, -58, -54, 79, 78, 47, 36,
    -105, -36, 127, -10, 14, 87, -77, 14,
};
static const int32_t nas_search_multiplier4[10] = {
    1368057116, 1488763689, 1323857901, 1905090209, 937800777, 1402873656, 1285501843, 972102691,
    684201633, 1547514544,
};
static const int64_t nas_search_offset4[10] = {
    INT64_C(78353937821515), INT64_C(78343614771015), INT64_C(78280855853718),
    INT64_C(78413654986624), INT64_C(78315672238578), INT64_C(78321591950897),
    INT64_C(78339051408859), INT64_C(78350073732971), INT64_C(78338883119103),
    INT64_C(78322388319799),
};
static const int8_t nas_search_weight3[140] = {
    -18, -64, -35, -58, -13, -127, 15, -9, 56, -35, 35, 59, -31, -52, 23, -127, 12, -84, 32, -59,
    -10, -119, 100, -14, 43, -21, -32, -68, 10, -127, -12, 127, 8, -21, 16, -41, -49, 44, -82,
    -103, -34, -17, -72, 127, 107, 78, -121, -126, 18, -59, -48, 15, -36, -127, 21, -7, 93, 37, 3,
    101, 13, 127, -51, 8, 3, 8, -63, -19, 15, 91, 84, 82, 127, -59, -30, 61, -44, 7, -52, 25, 6,
    21, -15, 54, -127, 30, -83, -35, 27, -26, -127, 25, -25, 48, 9, 28, -31, -55, 9, -10, -53,
    -22, 67, -86, -60, 2, 11, -127, 59, -5, -32, -60, -20, -109, -127, -8, 44, 97, -30, -70, -6,
    -127, -95, -23, 106, -22, 93, -30, -18, 1, 20, 31, 7, 127, -2, -38, 20, 69, 33, -8,
};
static const int32_t nas_search_multiplier5[14] = {
    773625779, 872906029, 550261954, 764334116, 509687623, 700000345, 691800756, 608698649,
    860265710, 828926388, 800074017, 616858385, 807349777, 1091558824,
};
static const int64_t nas_search_offset5[14] = {
    INT64_C(217258647302), INT64_C(1225311216084), INT64_C(110540875382), INT64_C(400533657896),
    INT64_C(-161857989379), INT64_C(2350854346622), INT64_C(-532523790218),
    INT64_C(1668933378914), INT64_C(-1294530413566), INT64_C(-1053163401259),
    INT64_C(2347839604550), INT64_C(1460014753585), INT64_C(-221880091940),
    INT64_C(-4430995609960),
};
static const int8_t nas_search_weight4[126] = {
    -11, 35, 127, 2, 69, 70, 26, 58, 47, 127, 87, 42, 113, 52, 40, 18, -28, 81, -1, -46, -34, 82,
    108, 57, 114, 58, 127, -8, 71, 127, 86, 76, -12, -41, -109, -33, 4, -32, -4, -14, -9, -15, 19,
    5, 127, 15, -15, 22, -122, 51, 0, -127, -64, 4, 2, -39, -103, -81, -57, -127, -108, -86, -8,
    -86, -76, 3, -61, -72, 33, 54, 26, 127, -39, -2, -72, -127, -109, -73, -33, 8, -39, 1, -21, 3,
    15, 55, 55, 127, 2, 18, 84, 80, 105, 21, 35, 64, -127, -116, -21, 31, 1, 127, 59, 55, 28, -9,
    -5, 16, 113, 19, 76, 127, 57, -3, -10, -51, -62, -93, -64, -121, -52, -26, -127, 123, 5, -41,
};
static const int32_t nas_search_multiplier6[14] = {
    518212872, 452969768, 553276124, 626451344, 1131872017, 687305814, 534554908, 587924245,
    516935972, 1001876323, 476524152, 867659570, 661541013, 517269516,
};
static const int64_t nas_search_offset6[14] = {
    INT64_C(29289111813912), INT64_C(29283854754054), INT64_C(29274461339830),
    INT64_C(29279770267361), INT64_C(29278211303621), INT64_C(29260033049527),
    INT64_C(29250054171460), INT64_C(29272807367088), INT64_C(29253746113603),
    INT64_C(29268836443892), INT64_C(29284369455312), INT64_C(29297293406155),
    INT64_C(29258863959064), INT64_C(29237815808095),
};
static const int8_t nas_search_weight5[210] = {
    86, 127, 1, 22, -83, -69, -51, 76, -17, 8, 106, -126, -28, 80, -61, 2, 35, 2, 127, 32, -15,
    -9, -24, 16, 9, -81, 67, 38, -55, 17, 127, 49, -53, 1, 67, -103, 17, 38, -3, 36, -6, 26, 20,
    46, -39, 74, -25, 93, -25, 12, 54, 127, 8, -15, -97, -116, 72, 13, -2, -73, 36, 127, 68, 54,
    89, -6, 55, 43, 13, 55, 68, -27, 68, 67, -37, 31, -85, 9, -96, -127, 22, -21, -80, 70, 16, 55,
    -61, 64, -30, 6, 81, 45, -8, 76, -94, 14, -127, -70, -7, -111, 127, -31, -61, 18, -79, 15, 29,
    -50, 5, -38, -8, -121, -26, -81, 2, -19, 18, 41, -127, -35, 34, -39, -81, 7, -20, -51, -29, 3,
    -77, 11, 59, 93, 50, 80, 127, 62, 43, -84, 45, 23, 27, 6, -123, 34, 76, -34, 12, -23, 113, 65,
    -7, -127, 18, -12, -32, 15, 54, -127, 7, 14, 86, 61, -112, -14, -55, -97, -30, -18, -74, 25,
    -76, 35, 73, -18, -101, 56, -27, -87, -24, 54, -127, 54, -109, -127, 96, 40, 62, 109, 20, 24,
    11, 60, -57, 46, 70, -72, -29, 58, -44, -60, 8, 2, -9, 127, 64, -47, -25, 7, -50, -94,
};
static const int32_t nas_search_multiplier7[15] = {
    1481413154, 2115933446, 2111222943, 1671441346, 1797512791, 1446504668, 1442462979,
    1918442998, 2035291164, 1577036366, 1272517789, 1714684688, 1782486232, 1375045906,
    1591651750,
};
static const int64_t nas_search_offset7[15] = {
    INT64_C(-209536824113), INT64_C(3217889736799), INT64_C(-744826128085),
    INT64_C(-2238522269158), INT64_C(3354857307386), INT64_C(4989281980723),
    INT64_C(545895307953), INT64_C(1249414479929), INT64_C(355355177571), INT64_C(6572438735035),
    INT64_C(5042444185363), INT64_C(2348424175654), INT64_C(3528400525581),
    INT64_C(2125503636728), INT64_C(1920846743426),
};
static const int8_t nas_search_weight6[135] = {
    -54, 60, -93, -104, -100, 44, -17, -23, -127, -74, 53, 127, -1, -33, 6, 39, 32, 118, -127,
    -44, -9, -40, 26, -17, 15, 30, 44, -3, -7, -21, -44, 2, -20, -127, 1, 3, 2, 20, 0, 58, 112,
    30, 127, 45, -6, 127, -11, -79, -16, -29, -11, -32, 41, 32, -36, -33, 23, -127, 29, 37, -18,
    -15, -11, -44, 2, -125, -127, -74, -23, 43, 31, 63, -93, -37, 95, -18, 30, 127, 57, 54, 25,
    -10, 39, 51, 5, -25, -90, 79, -8, -127, -71, 45, 127, -13, -60, 96, -38, -75, 69, 127, 93, 29,
    -23, -6, -48, -53, -26, 18, -3, 0, -127, -6, -46, -41, 37, 36, 46, 33, -27, -127, 104, 32,
    101, 63, 6, -17, 69, 127, 102, 64, -9, -60, -108, -84, -63,
};
static const int32_t nas_search_multiplier8[15] = {
    962437846, 1077724303, 1359326405, 1547435442, 1219694990, 1838502781, 2058338652, 995034082,
    977746554, 1480541303, 1377290551, 1458942966, 1673812518, 1081068048, 843049061,
};
static const int64_t nas_search_offset8[15] = {
    INT64_C(71169627489199), INT64_C(71188710967439), INT64_C(71257197333893),
    INT64_C(71244798364665), INT64_C(71241477709716), INT64_C(71184181612766),
    INT64_C(71133660756772), INT64_C(71160012105784), INT64_C(71235550730098),
    INT64_C(71158359310256), INT64_C(71167328511052), INT64_C(71202098646394),
    INT64_C(71169772113450), INT64_C(71192290679874), INT64_C(71194811285514),
};
static const int8_t nas_search_weight7[240] = {
    -53, -37, -29, 4, -101, -63, -50, -127, 59, -17, -47, 46, -14, -57, -56, -35, 33, -46, 30,
    -25, -27, 8, 8, -37, -14, 127, 6, 55, 43, -49, 15, -65, -32, 24, 127, 9, 103, -26, 20, -53,
    -31, 91, 0, -69, -64, 74, 33, -55, 83, -79, -17, 20, -37, 11, -127, 21, -4, -27, 94, -26, 17,
    103, 75, -127, 71, 63, 39, -93, -52, -43, 25, -94, -4, 124, -14, -55, 27, 47, 64, 88, 6, 35,
    -7, -82, -7, -47, -97, -127, -8, -55, -24, -106, -7, -25, -18, 61, -2, 58, 95, 28, 32, 86,
    127, -7, 59, 127, 99, -45, 48, 41, 23, 39, -31, 119, 56, 42, 10, -16, -80, 20, 12, -69, 111,
    107, -120, 40, 86, -126, -84, 127, 71, -16, 94, -43, -73, 29, 17, 22, -42, 36, 55, -23, 43,
    28, 127, -102, 26, 0, 28, -4, 24, -87, 21, 127, -92, -49, -103, 61, 3, 47, -17, 30, -20, 78,
    91, 5, -16, -18, 26, -65, 40, 30, -24, 32, -3, 19, 127, -20, 17, 12, -33, -31, -28, 85, 53,
    39, 127, 44, -47, -25, 33, 78, 63, -58, -17, 61, -17, -127, 26, -11, -5, 12, 15, -17, 6, -11,
    40, 30, 33, 103, -77, 80, 25, -14, -14, -43, 32, -95, -127, -58, 3, -16, -62, -33, 68, 47, 6,
    -48, 24, 54, -127, -76, -36, 29, -27, 23, -100, -49, -18, 6,
};
static const int32_t nas_search_multiplier9[16] = {
    745541267, 1082824579, 804881838, 760848129, 609994366, 729910052, 699593934, 686680444,
    495423820, 1145008877, 700836067, 1239877724, 701632854, 1076930042, 782825633, 820056471,
};
static const int64_t nas_search_offset9[16] = {
    INT64_C(87281850443), INT64_C(-1735127225039), INT64_C(1576302235395), INT64_C(-85927431803),
    INT64_C(-4269234672550), INT64_C(984713502612), INT64_C(1523824707825), INT64_C(477163143254),
    INT64_C(3135730667958), INT64_C(-427781280453), INT64_C(2333878098888),
    INT64_C(-799368362986), INT64_C(1825851069522), INT64_C(1251457204573),
    INT64_C(-2489092834315), INT64_C(-1675832860541),
};
static const int8_t nas_search_weight8[144] = {
    -112, 99, -35, -127, -68, -42, 27, -100, -122, -7, -24, -11, 21, 4, -97, 14, 29, -127, 106,
    -5, -37, -81, 43, -73, -127, 53, -41, 29, -34, 127, 96, -67, 7, -65, -60, -72, -51, 37, -25,
    -7, -127, 41, -1, -50, -91, 83, 87, 127, 108, -48, 46, -32, -53, -64, -16, 14, -50, 23, 19,
    -127, -40, 22, -126, 63, -3, 20, -12, 21, -16, -64, 3, -127, -113, -41, -127, -59, -35, 68, 1,
    -21, 115, 51, 17, 55, -72, -5, -16, -107, -78, -127, -4, -8, -3, 35, -24, -24, 127, 37, -38,
    -46, -49, -127, 86, 13, -43, -76, 93, -29, 127, -1, -51, 38, 14, -68, 64, -2, -11, -118, 30,
    -127, -81, -92, -25, -45, -120, 114, 58, 83, 127, -29, 25, 33, -59, -85, -121, 71, -5, 127,
    16, 0, 19, 46, 18, 37,
};
static const int32_t nas_search_multiplier10[16] = {
    450964796, 925383416, 845928151, 922030631, 704732645, 417161825, 794119601, 921749521,
    580208761, 536194011, 1265571325, 706155439, 886590589, 367311132, 528291537, 815002887,
};
static const int64_t nas_search_offset10[16] = {
    INT64_C(37796899773604), INT64_C(37793273818867), INT64_C(37798529509559),
    INT64_C(37777777874684), INT64_C(37793824377676), INT64_C(37806692151282),
    INT64_C(37792883257668), INT64_C(37785507906283), INT64_C(37808284120217),
    INT64_C(37779307951142), INT64_C(37834913230455), INT64_C(37803992954277),
    INT64_C(37821830526021), INT64_C(37779703763005), INT64_C(37778208069057),
    INT64_C(37779124848102),
};
static const int8_t nas_search_weight9[240] = {
    31, -74, 42, 35, 49, -58, 14, 127, 91, -36, -79, -65, -49, 19, 29, 106, 63, -115, 19, -6, -17,
    -79, -6, -6, -8, -14, -41, 32, 85, 18, 76, -127, 17, 3, 42, -54, 48, -41, 20, 14, -32, 0, 69,
    -127, -15, 28, 20, -66, 87, -18, -55, 29, 81, 127, -80, -90, -16, 44, -19, 91, -27, 3, 49, 77,
    -5, 76, 28, -57, 30, -30, -50, 4, 40, 0, -44, -25, 3, -103, 127, -75, -35, 6, -106, 34, -85,
    -13, -63, -32, 115, 15, -105, 127, -86, 59, -88, 88, 94, -30, 46, 12, 65, 4, 46, -63, 35, 62,
    127, -11, 46, 15, 30, -41, -58, -62, 1, 72, 15, 2, 23, 62, -127, 51, -23, -51, 7, 56, 3, -44,
    -25, 42, -30, -6, -6, 18, 42, 3, -1, 20, -24, 37, 127, 6, -72, 11, 28, 22, 88, -86, 71, 85,
    46, 59, 34, -127, 25, 66, 93, 74, 13, -20, 71, 56, -50, -21, -21, -87, -127, -69, -58, 58,
    -87, 6, 111, -4, -26, 28, 15, -111, 110, -52, 70, 28, 127, -62, -23, -127, -13, -39, -42, 17,
    -53, 92, 94, -77, -101, -8, 43, 28, 127, -29, -20, 3, 47, 66, 25, -9, 55, 13, 43, -16, -27,
    -89, -107, 113, 81, -19, -127, 5, -3, 75, -47, -81, 12, -33, -39, -2, 97, 127, 69, -17, 39,
    67, 64, 25, 96, -19, 24, 111, -17, 5,
};
static const int32_t nas_search_multiplier11[15] = {
    1601634346, 1605984844, 2042002533, 1521987048, 1652465763, 1379839414, 1820688065,
    1925313775, 1905330848, 1311766446, 1318656067, 1217662853, 1676891835, 1535168973,
    1431502157,
};
static const int64_t nas_search_offset11[15] = {
    INT64_C(6121696580854), INT64_C(3053725552404), INT64_C(-1201376406391),
    INT64_C(-3867752956323), INT64_C(-1758403577088), INT64_C(654420357403),
    INT64_C(432507124953), INT64_C(-635457293026), INT64_C(-116453904672), INT64_C(787230618804),
    INT64_C(-2705100575764), INT64_C(-1261922212226), INT64_C(4378801872531),
    INT64_C(-3063591543668), INT64_C(2905416805793),
};
static const int8_t nas_search_weight10[135] = {
    127, -10, 84, 27, -54, 2, 15, 28, -56, 68, 59, 127, -4, -12, -28, 24, -44, -29, 127, 31, 104,
    0, 48, -53, -11, -29, -21, 7, 36, -127, -41, 13, -60, 53, -4, -95, -127, -28, -36, 26, -37,
    -37, -60, 62, -43, 7, 15, -23, -5, -7, -32, 127, -6, 36, 53, -50, 61, 108, -20, -5, 70, 127,
    43, -127, -69, -119, 42, 56, -12, 37, -70, 58, 101, -74, 2, -48, 48, 13, -117, 5, -127, 30,
    -127, 1, -37, -22, -1, -73, -15, -109, -114, -67, -117, 35, 122, -45, -72, -21, -127, -79, 23,
    21, -17, 6, -8, 117, -4, 127, -48, -17, -2, 14, 32, -46, 17, 10, 127, -36, -5, 0, 1, -11, -48,
    29, 11, -127, -44, -13, 127, 118, -68, 105, 48, 78, 122,
};
static const int32_t nas_search_multiplier12[15] = {
    1088310213, 960063547, 668819100, 922515104, 904695592, 1292381504, 578780620, 703206056,
    937568268, 746426729, 565267834, 1020155535, 1197556550, 1040214768, 519534118,
};
static const int64_t nas_search_offset12[15] = {
    INT64_C(34470746713625), INT64_C(34496886601305), INT64_C(34499881184439),
    INT64_C(34492366187909), INT64_C(34523126817574), INT64_C(34451461268500),
    INT64_C(34501004339653), INT64_C(34500035609991), INT64_C(34477309080595),
    INT64_C(34476697942728), INT64_C(34484230062351), INT64_C(34466326126348),
    INT64_C(34471510351359), INT64_C(34482181605284), INT64_C(34514018996360),
};
static const int8_t nas_search_weight11[210] = {
    -30, 127, 10, 3, -59, 76, -61, -28, 94, -7, -13, 34, -39, 58, 24, 51, -18, 0, -52, 50, 83, 6,
    -11, 62, -68, -13, 127, -64, 62, -114, -37, 26, 56, -2, 60, -15, 27, 15, 11, -127, -14, 41,
    23, 63, 33, 15, -34, 96, 31, -84, -6, 51, -127, -4, -38, 80, 88, -9, -20, -41, -40, -4, 72,
    -17, 74, 35, 55, -50, -127, 20, 68, -15, -11, -116, 62, 36, 34, -79, 21, -89, -9, -2, 7, -8,
    -103, 44, 127, 59, 2, -37, -20, 124, -16, 38, 78, -9, -38, 70, -118, -72, -127, 36, -28, -23,
    -31, 44, 25, 27, -49, 39, -30, 29, -77, -11, 5, -127, -11, 19, 68, 15, 49, 54, 127, -58, 66,
    93, 51, -10, -17, 43, 41, 19, -124, 79, -49, -64, -9, 58, -3, -124, -77, 75, 105, -127, 45,
    -55, 72, 15, 68, -105, -1, 81, 6, -59, 21, 60, 127, -24, 30, -81, 33, -19, 31, 54, -25, 30, 2,
    -25, -127, -39, 2, 26, 25, -30, -11, -12, 4, 17, 19, 48, 127, -46, 43, 17, 69, 1, 81, 4, 73,
    78, -18, 89, 1, -33, 19, 12, -40, -49, 27, -27, 44, 5, 31, -18, 43, -13, -7, 52, 2, 127,
};
static const int32_t nas_search_multiplier13[14] = {
    1476536839, 1297748938, 1710802563, 1398020749, 1485733025, 1309774298, 1061226291,
    1724774410, 1145481429, 996532431, 1699367473, 1952690103, 1231104235, 1953579827,
};
static const int64_t nas_search_offset13[14] = {
    INT64_C(-1588792399618), INT64_C(-349956039317), INT64_C(-3227800917783),
    INT64_C(-2728923187677), INT64_C(-1891490209860), INT64_C(-4691590735384),
    INT64_C(-1787529778155), INT64_C(-4595270358983), INT64_C(857865027418),
    INT64_C(-136782415090), INT64_C(-3923254658847), INT64_C(-3897141448566),
    INT64_C(-2108765774716), INT64_C(-3003427301103),
};
static const int8_t nas_search_weight12[140] = {
    -8, -62, -28, -26, 67, -22, 15, -40, 15, 127, -46, -1, -72, -30, -23, -13, 90, 38, -18, -91,
    -78, -66, 88, 9, -10, -57, 127, -5, 42, -38, 17, 3, 40, -1, 21, -27, -82, -49, -73, 51, 35,
    127, -29, 127, -84, -39, -17, -23, -22, -18, 49, -32, -46, 87, -26, 2, -39, 59, 84, 123, 61,
    127, -74, 18, -69, -127, 60, -80, -101, -19, 127, 36, -70, -2, -48, -72, 72, 2, 75, -37, 63,
    -24, -99, -10, -35, -35, -33, -13, 27, -9, 27, 127, 3, -26, -21, -35, 17, -36, 63, -21, -51,
    42, -93, 127, -92, -16, -56, 39, -13, 10, 86, -1, -29, -54, 47, -41, 13, -52, -18, 26, -6, 0,
    127, 60, -19, 11, -31, 87, 127, -52, -89, 69, 110, -24, -39, 46, 2, -49, -3, -15,
};
static const int32_t nas_search_multiplier15[10] = {
    1726851658, 1327161211, 1333029195, 1342384121, 878748598, 1099549615, 1924661073, 1263473232,
    1390769330, 1056414474,
};
static const int64_t nas_search_offset15[10] = {
    INT64_C(-25124182994), INT64_C(80780564603), INT64_C(-68709525591), INT64_C(-29351158179),
    INT64_C(34222223799), INT64_C(70717668470), INT64_C(27413769981), INT64_C(-81471548130),
    INT64_C(75639015305), INT64_C(-37160390415),
};

static uint8_t nas_search_memory[9800];

/* Brings a sum to the numbers of the next map, or to a logit. No negative number is shifted. */
static inline void nas_search_put(
    int64_t sum, int shift, uint8_t *map, int32_t *logits, int at)
{
    if (logits) {
        sum = sum >= 0 ? sum >> shift : -((-(sum + 1)) >> shift) - 1;
        logits[at] = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
    } else {
        sum = sum > 0 ? sum >> shift : 0;
        map[at] = sum > 255 ? 255 : (uint8_t)sum;
    }
}

static inline void nas_search_conv(
    const uint8_t *in, uint8_t *map, int32_t *logits,
    int channels, int height, int width, int zero, int outputs, int out_height, int out_width,
    const int8_t *weight, int kernel_height, int kernel_width, int stride, int padding, int groups,
    const int32_t *multiplier, const int64_t *offset, int shift)
{
    const int per_group = channels / groups, outputs_per_group = outputs / groups;
    int output, y, x, channel, i, j;
    for (output = 0; output < outputs; output++) {
        const uint8_t *from = in + (output / outputs_per_group) * per_group * height * width;
        const int8_t *kernel = weight + output * per_group * kernel_height * kernel_width;
        for (y = 0; y < out_height; y++) {
            for (x = 0; x < out_width; x++) {
                int32_t sum = 0; /* at most 2**31 / (127 * 255) products */
                for (channel = 0; channel < per_group; channel++) {
                    for (i = 0; i < kernel_height; i++) {
                        const int row = y * stride + i - padding;
                        if (row < 0 || row >= height) {
                            continue;
                        }
                        for (j = 0; j < kernel_width; j++) {
                            const int column = x * stride + j - padding;
                            if (column >= 0 && column < width) {
                                sum += (from[(channel * height + row) * width + column] - zero)
                                    * kernel[(channel * kernel_height + i) * kernel_width + j];
                            }
                        }
                    }
                }
                nas_search_put((int64_t)sum * multiplier[output] + offset[output], shift,
                    map, logits, (output * out_height + y) * out_width + x);
            }
        }
    }
}

static inline void nas_search_scale(
    const uint8_t *in, uint8_t *map, int32_t *logits, int channels, int size, int zero,
    const int32_t *multiplier, const int64_t *offset, int shift)
{
    int channel, i;
    for (channel = 0; channel < channels; channel++) {
        for (i = channel * size; i < (channel + 1) * size; i++) {
            nas_search_put((int64_t)(in[i] - zero) * multiplier[channel] + offset[channel], shift,
                map, logits, i);
        }
    }
}

static inline void nas_search_average_pool(
    const uint8_t *in, uint8_t *map, int32_t *logits, int channels, int height, int width,
    int out_height, int out_width, int window_height, int window_width, int stride, int zero,
    int32_t multiplier, int64_t offset, int shift)
{
    int channel, y, x, i, j;
    for (channel = 0; channel < channels; channel++) {
        for (y = 0; y < out_height; y++) {
            for (x = 0; x < out_width; x++) {
                int32_t sum = 0;
                for (i = y * stride; i < y * stride + window_height; i++) {
                    for (j = x * stride; j < x * stride + window_width; j++) {
                        sum += in[(channel * height + i) * width + j] - zero;
                    }
                }
                nas_search_put((int64_t)sum * multiplier + offset, shift,
                    map, logits, (channel * out_height + y) * out_width + x);
            }
        }
    }
}

static inline void nas_search_max_pool(
    const uint8_t *in, uint8_t *map, int channels, int height, int width,
    int out_height, int out_width, int window_height, int window_width, int stride)
{
    int channel, y, x, i, j;
    for (channel = 0; channel < channels; channel++) {
        for (y = 0; y < out_height; y++) {
            for (x = 0; x < out_width; x++) {
                uint8_t largest = 0;
                for (i = y * stride; i < y * stride + window_height; i++) {
                    for (j = x * stride; j < x * stride + window_width; j++) {
                        const uint8_t value = in[(channel * height + i) * width + j];
                        largest = value > largest ? value : largest;
                    }
                }
                map[(channel * out_height + y) * out_width + x] = largest;
            }
        }
    }
}

static inline void nas_search_view_logits(
    const uint8_t pixels[NAS_SEARCH_PIXELS], int32_t logits[NAS_SEARCH_CLASSES])
{
    nas_search_scale(pixels, nas_search_memory + 7840, 0, 1, 784, 0, nas_search_multiplier1, nas_search_offset1, 30);
    nas_search_conv(nas_search_memory + 7840, nas_search_memory + 0, 0, 1, 28, 28, 33, 10, 28, 28, nas_search_weight1, 3, 3, 1, 1, 1, nas_search_multiplier2, nas_search_offset2, 38);
    nas_search_max_pool(nas_search_memory + 0, nas_search_memory + 7840, 10, 28, 28, 14, 14, 2, 2, 2);
    nas_search_conv(nas_search_memory + 7840, nas_search_memory + 2744, 0, 10, 14, 14, 0, 10, 14, 14, nas_search_weight2, 3, 3, 1, 1, 10, nas_search_multiplier4, nas_search_offset4, 39);
    nas_search_conv(nas_search_memory + 2744, nas_search_memory + 0, 0, 10, 14, 14, 142, 14, 14, 14, nas_search_weight3, 1, 1, 1, 0, 1, nas_search_multiplier5, nas_search_offset5, 36);
    nas_search_conv(nas_search_memory + 0, nas_search_memory + 2744, 0, 14, 14, 14, 0, 14, 12, 12, nas_search_weight4, 3, 3, 1, 0, 14, nas_search_multiplier6, nas_search_offset6, 38);
    nas_search_conv(nas_search_memory + 2744, nas_search_memory + 0, 0, 14, 12, 12, 106, 15, 12, 12, nas_search_weight5, 1, 1, 1, 0, 1, nas_search_multiplier7, nas_search_offset7, 37);
    nas_search_conv(nas_search_memory + 0, nas_search_memory + 2160, 0, 15, 12, 12, 0, 15, 10, 10, nas_search_weight6, 3, 3, 1, 0, 15, nas_search_multiplier8, nas_search_offset8, 39);
    nas_search_conv(nas_search_memory + 2160, nas_search_memory + 0, 0, 15, 10, 10, 129, 16, 10, 10, nas_search_weight7, 1, 1, 1, 0, 1, nas_search_multiplier9, nas_search_offset9, 36);
    nas_search_conv(nas_search_memory + 0, nas_search_memory + 1600, 0, 16, 10, 10, 0, 16, 8, 8, nas_search_weight8, 3, 3, 1, 0, 16, nas_search_multiplier10, nas_search_offset10, 38);
    nas_search_conv(nas_search_memory + 1600, nas_search_memory + 0, 0, 16, 8, 8, 137, 15, 8, 8, nas_search_weight9, 1, 1, 1, 0, 1, nas_search_multiplier11, nas_search_offset11, 37);
    nas_search_conv(nas_search_memory + 0, nas_search_memory + 960, 0, 15, 8, 8, 0, 15, 6, 6, nas_search_weight10, 3, 3, 1, 0, 15, nas_search_multiplier12, nas_search_offset12, 38);
    nas_search_conv(nas_search_memory + 960, nas_search_memory + 0, 0, 15, 6, 6, 125, 14, 6, 6, nas_search_weight11, 1, 1, 1, 0, 1, nas_search_multiplier13, nas_search_offset13, 37);
    nas_search_average_pool(nas_search_memory + 0, nas_search_memory + 504, 0, 14, 6, 6, 1, 1, 6, 6, 1, 0, 1569561026, INT64_C(8589934592), 34);
    nas_search_conv(nas_search_memory + 504, 0, logits, 14, 1, 1, 0, 10, 1, 1, nas_search_weight12, 1, 1, 1, 0, 1, nas_search_multiplier15, nas_search_offset15, 25);
}

/* The mean over several views of the image. What comes in at an edge is the edge itself. */
static inline void nas_search_logits(
    const uint8_t pixels[NAS_SEARCH_PIXELS], int32_t logits[NAS_SEARCH_CLASSES])
{
    static const int8_t moves[5][2] = {{0, 0}, {1, 0}, {-1, 0}, {0, 1}, {0, -1}}; /* pixels down and to the right */
    static uint8_t view[NAS_SEARCH_PIXELS];
    int64_t sums[NAS_SEARCH_CLASSES] = {0};
    int n, y, x, i;
    for (n = 0; n < 5; n++) {
        for (y = 0; y < 28; y++) {
            for (x = 0; x < 28; x++) {
                int row = y - moves[n][0], column = x - moves[n][1];
                row = row < 0 ? 0 : row >= 28 ? 28 - 1 : row;
                column = column < 0 ? 0 : column >= 28 ? 28 - 1 : column;
                view[y * 28 + x] = pixels[row * 28 + column];
            }
        }
        nas_search_view_logits(view, logits);
        for (i = 0; i < NAS_SEARCH_CLASSES; i++) {
            sums[i] += logits[i];
        }
    }
    for (i = 0; i < NAS_SEARCH_CLASSES; i++) {
        logits[i] = (int32_t)(sums[i] / 5);
    }
}

static inline int nas_search_predict(const uint8_t pixels[NAS_SEARCH_PIXELS])
{
    int32_t logits[NAS_SEARCH_CLASSES];
    int best = 0, i;
    nas_search_logits(pixels, logits);
    for (i = 1; i < NAS_SEARCH_CLASSES; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return best;
}

#endif
